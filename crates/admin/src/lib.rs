//! People and machines looking in.
