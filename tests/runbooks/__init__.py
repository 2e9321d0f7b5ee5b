"""What runbooks/ shows is carried out, in the situations that they are for."""
