//! Configuration: text, syntax tree, merged layers, interpolated options, and the command stream.
