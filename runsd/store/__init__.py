"""The only room that speaks SQL. Its one promise: what it has answered is on disk."""
