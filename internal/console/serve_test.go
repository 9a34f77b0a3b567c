package console_test

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/auth"
)

// TestServe is for the browser of test/interop: it says where a server is that has something of everything, and keeps it until its standard
// input ends.
func TestServe(t *testing.T) {
	if os.Getenv("TANDEM_CONSOLE") == "" {
		t.Skip("only the tests in a browser need it")
	}
	w := newWorld(t, token("admin", auth.RoleRead, auth.RoleOperate, auth.RolePublish))
	fmt.Println("console", w.base, "secret-admin")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
