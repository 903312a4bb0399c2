//! pondsql
