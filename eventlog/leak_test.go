package eventlog_test

import (
	"testing"

	"go.uber.org/goleak"
)

// The log's one goroutine ends with Close, whatever a test did.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
