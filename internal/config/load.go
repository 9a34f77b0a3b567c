package config

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// DefaultFile is read when no file is named and the working directory has it.
const DefaultFile = "tandem.yaml"

// Environment variables. They win over the file; flags of the command line win over them.
const (
	EnvFile   = "TANDEM_CONFIG" // path of the file
	EnvData   = "TANDEM_DATA"   // data
	EnvPublic = "TANDEM_PUBLIC" // public.listen
	EnvAPI    = "TANDEM_API"    // api.listen
	EnvEngine = "TANDEM_ENGINE" // engine, in its short form
)

// Load reads the configuration: the file at path, else the one that TANDEM_CONFIG names, else tandem.yaml in the
// working directory, else none. Without a file the Options are a working developer's set-up: on loopback, topics come
// into being when they are first published to. Env is os.LookupEnv or the like; variables win over the file.
//
// Options.Secrets is set to Secret; Options.Load is the caller's to set, since flags win over what Load returns. Codes:
// NotFound (a named file is not there), Invalid (its Fields name each place, "file:line:column").
func Load(path string, env func(string) (string, bool)) (server.Options, error) {
	f, err := Read(path, env)
	return f.Options, err
}

// File is a configuration that was read.
type File struct {
	Path     string // empty when there is none
	Options  server.Options
	Warnings []Warning
}

// Read is Load, and tells which file it was and what it warns of.
func Read(path string, env func(string) (string, bool)) (File, error) {
	path, named := locate(path, env)
	data, err := readFile(path)
	var f File
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		f.Options = server.Options{PublicAddr: server.DefaultDevPublicAddr, APIAddr: server.DefaultAPIAddr,
			Data: server.DefaultData, AutoCreate: true, Secrets: Secret}
	case err != nil:
		return f, tandem.Wrap("read configuration", err)
	default:
		f.Path = path
		if f.Options, f.Warnings, err = Parse(path, data); err != nil {
			return f, tandem.Wrap("read configuration", err)
		}
	}
	return f, fromEnv(&f.Options, env)
}

// locate returns the path of the file and whether somebody named it.
func locate(path string, env func(string) (string, bool)) (string, bool) {
	if path != "" {
		return path, true
	}
	if path, ok := env(EnvFile); ok && path != "" {
		return path, true
	}
	return DefaultFile, false
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeNotFound, Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Err: err}
	}
	return data, nil
}

func fromEnv(o *server.Options, env func(string) (string, bool)) error {
	for _, v := range []struct {
		name string
		into *string
		addr bool
	}{{EnvData, &o.Data, false}, {EnvPublic, &o.PublicAddr, true}, {EnvAPI, &o.APIAddr, true}} {
		s, ok := env(v.name)
		if !ok || s == "" {
			continue
		}
		if v.addr {
			if why := wrongAddress(s); why != "" {
				return tandem.Errorf(tandem.CodeInvalid, "environment variable %s: %q %s", v.name, s, why)
			}
		}
		*v.into = s
	}
	if s, ok := env(EnvEngine); ok && s != "" {
		e, err := server.ParseEngine(s)
		if err != nil {
			return tandem.Wrap("environment variable "+EnvEngine, err)
		}
		o.Engine = e
	}
	return nil
}
