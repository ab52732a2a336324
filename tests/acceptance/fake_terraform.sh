#!/bin/sh
# Stands in for terraform where a test needs many plans, or none that take long. It plans nothing and says what
# the files beside it want: see `PlayedTerraform` in conftest.py.
here=$(dirname "$0")
stack=${PWD#*/work/}
stack=${stack%%/.terraform/*}
case $1 in
version)
  echo '{"terraform_version": "1.11.4"}'
  ;;
plan)
  echo "begin $stack $$ $(date +%s.%N)" >> "$here/plans"
  for argument in "$@"; do
    case $argument in -out=*) echo plan > "${argument#-out=}" ;; esac
  done
  if [ -e "$here/seconds" ]; then sleep "$(cat "$here/seconds")"; fi
  echo "end $stack $$ $(date +%s.%N)" >> "$here/plans"
  ;;
show)
  if [ -e "$here/drifted/$stack" ]; then cat "$here/drifted.json"; else cat "$here/in_sync.json"; fi
  ;;
esac
