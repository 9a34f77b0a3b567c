// Package config turns tandem.yaml into server.Options.
//
// Everything that is wrong with a file is reported at once, up to 20 places, each with file, line and column, the path
// of the key and what would be right. Nothing is ignored: an unknown key, a key given twice, a value of another type
// and a key that this version does not support yet are errors, because a setting that silently does nothing is worse
// than a server that does not start. What is allowed but probably not meant becomes a Warning.
//
// A file is at most 1 MiB; aliases may be used, and what they expand to is bounded. Paths in a file are relative to the
// directory of the file. Secrets stay references (env:NAME, file:PATH); their values are never kept here.
//
// The package starts nothing and holds nothing: each call reads the file again.
package config
