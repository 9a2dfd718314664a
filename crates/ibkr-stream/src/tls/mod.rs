//! Trust in a gateway whose certificate nobody has signed.
