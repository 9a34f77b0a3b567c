package main

import (
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/tandem-hybrid/tandem/server"
)

type versionCmd struct{ output }

func (c *versionCmd) Run(a *app) error {
	if c.JSON {
		return a.printJSON(map[string]string{"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	a.printf("tandem %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is the version of the module, or the commit of a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "commit " + s.Value[:12]
		}
	}
	return "devel"
}

// variables are what help texts may name.
func variables() kong.Vars {
	return kong.Vars{"data": server.DefaultData, "public": server.DefaultDevPublicAddr, "api": server.DefaultAPIAddr, "scenarios": scenarioNames()}
}
