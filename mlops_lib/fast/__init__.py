"""What makes training and prediction quick, with the same answers: a module for each trick."""
