package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// maxSecretBytes bounds a secret read from a file.
const maxSecretBytes = 64 << 10

// Secret resolves a reference: env:NAME is the value of an environment variable, file:PATH the content of a file
// without the newline at its end, at most 64 KiB. It reads anew each time, so that a secret can be rotated without a
// reload. Neither the value nor a reference that does not look like one appears in an error. Codes: Invalid (not a
// reference, empty), NotFound (no such variable or file).
func Secret(ref string) (string, error) {
	form, name, _ := strings.Cut(ref, ":")
	if name == "" || form != "env" && form != "file" {
		return "", tandem.Errorf(tandem.CodeInvalid, "the secret is not a reference").WithHint("write env:NAME or file:PATH")
	}
	if form == "env" {
		s, ok := os.LookupEnv(name)
		if !ok {
			return "", tandem.Errorf(tandem.CodeNotFound, "environment variable %s, which holds a secret, is not set", name)
		}
		return filledSecret(ref, s)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", tandem.Errorf(tandem.CodeNotFound, "open the file that holds a secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", tandem.Errorf(tandem.CodeNotFound, "read the file that holds a secret: %w", err)
	case len(b) > maxSecretBytes:
		return "", tandem.Errorf(tandem.CodeInvalid, "file %s is larger than a secret of %d bytes", name, maxSecretBytes)
	}
	return filledSecret(ref, strings.TrimRight(string(b), "\r\n"))
}

func filledSecret(ref, s string) (string, error) {
	if s == "" {
		return "", tandem.Errorf(tandem.CodeInvalid, "the secret in %s is empty", ref)
	}
	return s, nil
}

// secret reads a reference to a secret. What is not a reference is not shown: it may be the secret itself.
func (p *parser) secret(v value, into *string) {
	form, name, _ := strings.Cut(v.node.Value, ":")
	if v.node.Kind != yaml.ScalarNode || name == "" || form != "env" && form != "file" {
		p.bad(v, "must be a reference, env:NAME or file:PATH, not the secret itself")
		return
	}
	if form == "file" {
		name = p.relative(name)
	}
	*into = form + ":" + name
}

// relative returns a path of the file as seen from the working directory: paths in a file are relative to it.
func (p *parser) relative(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(p.file), path)
}
