"""Where code is hosted: GitHub and GitLab."""
