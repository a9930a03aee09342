"""What operators ask of the whole: the auditor that goes on, and the story of every checkout."""
