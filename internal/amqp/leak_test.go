package amqp

import (
	"testing"

	"go.uber.org/goleak"
)

// Connections end with their last user, whatever a test did.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
