"""The REST API: operators look at payments, customers at what they saved."""
