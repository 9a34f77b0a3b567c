package engines

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// What the tests of the whole system share: each runs on every kind of server that is there.

// systemServers are the kinds of servers, and where each is, as `tandem serve --engine` takes it.
var systemServers = []struct {
	name  string
	quick bool // in this process
	url   func(t testing.TB) string
}{
	{"kfake", true, func(t testing.TB) string { return "kafka://" + fakeKafka(t)[0] }},
	{"nats in process", true, func(t testing.TB) string {
		s := natsServer(t, func(o *server.Options) { o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT })
		return "nats://" + s.Addr().(*net.TCPAddr).String()
	}},
	{"kafka", false, func(t testing.TB) string { return "kafka://" + strings.Join(realKafka(t), ",") }},
	{"nats", false, func(t testing.TB) string { return "nats://" + strings.ReplaceAll(natsURL(t), "nats://", "") }},
}

// onEngines runs a test on each kind of server, or on real ones only.
func onEngines(t *testing.T, quick bool, test func(t *testing.T, url string)) {
	for _, s := range systemServers {
		if quick || !s.quick {
			t.Run(s.name, func(t *testing.T) { test(t, s.url(t)) })
		}
	}
}

// ownPrefix is an engine's URL with a prefix that nobody else has.
func ownPrefix(engine string) string { return engine + "/" + natsPrefix() }

// firstHost is an engine's URL with one of its servers only, which is a URL in the sense of package url.
func firstHost(t *testing.T, engine string) string {
	t.Helper()
	one, _, _ := strings.Cut(engine, ",")
	if _, err := url.Parse(one); err != nil {
		t.Fatal(err)
	}
	return one
}

// root is the directory of the main module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// built is the binary of tandem in bin, built once; TANDEM_BINARY names another one.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TANDEM_BINARY"); path != "" {
		return path, nil
	}
	path, err := filepath.Abs("../../bin/tandem")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tandem")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tandem: %w: %s", err, out)
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
