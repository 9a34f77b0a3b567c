package natslog

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-hybrid/tandem"
)

// Options configure an Engine. Only URL, or InProcess, is required.
type Options struct {
	// URL of the servers, separated by commas: nats://host:4222, or tls:// for a connection under TLS.
	URL string
	// Prefix begins the names of all streams and subjects, so that several logs fit on one server: at most 32 of letters, digits, - and
	// _. Empty means "tandem". Processes with one prefix share one log; the last that opens it may write.
	Prefix string
	// Replicas of the streams that are created, 1 to 5. Zero means 1. Streams that exist keep theirs.
	Replicas int
	// SyncAlways says that the servers are configured with "sync_interval: always". They cannot be asked; without it, and with one
	// replica or with several that may lose power together, Info warns.
	SyncAlways bool

	// Credentials is a file of user JWT and seed, NKey one of a seed alone.
	Credentials string
	NKey        string
	User        string
	Password    Secret
	Token       Secret
	// TLS turns TLS on, with these roots and this client certificate. Nil leaves it to the URL.
	TLS *tls.Config

	// Dir is where the index of state records is kept between two runs. Empty keeps it in memory: all state is read again at the start.
	Dir string
	// CacheBytes bounds the memory of the newest events of all partitions together, from which readers at the end of a topic are served.
	// Zero means 64 MiB; negative keeps none.
	CacheBytes int64
	// DuplicateWindow is how long the server recognises an id that is sent again, unless the topic's retention is shorter. The server keeps
	// the ids in memory. Zero means 2m.
	DuplicateWindow time.Duration
	// Timeout is how long a call waits for a server that does not answer, before it ends with Unavailable. Zero means 5s.
	Timeout time.Duration
	// RefreshEvery is how often the server is asked how far all partitions reach. What others publish is noticed at once, what retention
	// removes by then, or when it is read. Zero means 10s.
	RefreshEvery time.Duration
	// DeletedAge is how long the stream of state remembers that a record was deleted. A process that was away for more than half of that
	// reads all state again at its start. Zero means 30m; at least 2s.
	DeletedAge time.Duration
	// Logger gets what an operator should see. Nil drops it.
	Logger *slog.Logger

	// InProcess connects to a server in this process, instead of URL.
	InProcess nats.InProcessConnProvider
}

// Secret is a password or token: whatever prints it shows that there is one, and no more.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// Format hides the secret from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

const maxReplicas = 5

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func (o Options) withDefaults() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "tandem"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.Replicas, 1)
	setDefault(&o.CacheBytes, 64<<20)
	setDefault(&o.DuplicateWindow, 2*time.Minute)
	setDefault(&o.Timeout, 5*time.Second)
	setDefault(&o.RefreshEvery, 10*time.Second)
	setDefault(&o.DeletedAge, 30*time.Minute)
	switch {
	case o.URL == "" && o.InProcess == nil:
		return o, tandem.Errorf(tandem.CodeInvalid, "no URL of a NATS server").WithHint("give one such as nats://127.0.0.1:4222")
	case !validPrefix.MatchString(o.Prefix):
		return o, tandem.Errorf(tandem.CodeInvalid, "the prefix %q of NATS streams must be 1 to 32 letters, digits, - and _", o.Prefix)
	case o.Replicas < 1 || o.Replicas > maxReplicas:
		return o, tandem.Errorf(tandem.CodeInvalid, "%d replicas of NATS streams: 1 to %d are possible", o.Replicas, maxReplicas)
	case o.DeletedAge < 2*time.Second:
		return o, tandem.Errorf(tandem.CodeInvalid, "deletions of state would be remembered for %v: at least 2s are needed", o.DeletedAge)
	case o.DuplicateWindow < 100*time.Millisecond:
		return o, tandem.Errorf(tandem.CodeInvalid, "the window of duplicates is %v: NATS needs at least 100ms", o.DuplicateWindow)
	}
	return o, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
