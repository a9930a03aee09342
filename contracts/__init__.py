"""What travels: money, ids, topics, the envelope and every message. Imports nothing of ours."""
