//! SAM3-I.
