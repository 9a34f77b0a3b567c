package config

import _ "embed"

//go:embed tandem.schema.json
var schema string

// Schema returns the JSON Schema (draft 2020-12) of tandem.yaml, for editors. It knows the same keys as Parse, and
// less of how they go together.
func Schema() string { return schema }
