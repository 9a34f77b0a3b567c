package kafkalog

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Options say which cluster, and how its topics are made. Only Brokers is required.
type Options struct {
	Brokers []string // host:port of some of the brokers; the others are learnt from them

	// Prefix stands before the names of Tandem's topics in Kafka, before that of the topic of state, "_tandem.state", and before the transactional
	// id, so that several logs share a cluster. It is part of the log's identity.
	Prefix string

	// Replication and MinInSync are those of topics that are made from now on. Zero means 3, or as many as a smaller cluster has brokers, and
	// one less in sync, but at least 1.
	Replication int
	MinInSync   int

	// MaxMessageBytes is the largest batch of records that topics made from now on take. Zero means 4 MiB. Events may be as large as it
	// leaves room for.
	MaxMessageBytes int

	TLS  *tls.Config // nil means a connection in clear
	SASL SASL

	// Dir is the directory of the local index of state, which nothing else may use. Empty keeps the index in memory: all state is then read from
	// Kafka at each start.
	Dir string

	// CacheBytes bounds the events that are kept in memory for readers at the end of their partitions, and as many again for those behind. Zero
	// means 64 MiB.
	CacheBytes int64

	// Timeout bounds what waits for a broker: an Append that is not acknowledged by then gets Unavailable. Zero means 5s.
	Timeout time.Duration
	// HoldAtMost bounds the time from the first record of a transaction that a broker has, which holds back those who read its partition, to its
	// end: beyond it it is given up, with Unavailable. Zero means 500ms; as a rule it is a few milliseconds.
	HoldAtMost time.Duration
	// DialTimeout bounds the making of a connection. Zero means 3s.
	DialTimeout time.Duration

	Logger *slog.Logger // nil means slog.Default
	// Dial makes connections, for tests. With it, TLS is left to it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SASL says who this process is to the brokers. The zero value is nobody.
type SASL struct {
	Mechanism string // plain, scram-sha-256, scram-sha-512 or oauthbearer, in any case
	User      string
	// Secret returns the password, or the token of oauthbearer. It is asked for each connection, so that it may change.
	Secret func(ctx context.Context) (string, error)
}

const (
	defaultMaxMessageBytes = 4 << 20
	// eventOverhead is what the limit on a batch leaves beside an event: names of headers, lengths, the batch.
	eventOverhead = 64 << 10

	stateName = "_tandem.state"
)

func (o *Options) setDefaults() {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = defaultMaxMessageBytes
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.HoldAtMost == 0 {
		o.HoldAtMost = 500 * time.Millisecond
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 3 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func (o *Options) check() error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the Kafka engine is not configured right")
	if len(o.Brokers) == 0 {
		bad.WithField("/brokers", "names no broker")
	}
	if o.MaxMessageBytes < 2*eventOverhead {
		bad.WithField("/maxMessageBytes", "must be at least %d", 2*eventOverhead)
	}
	if o.Prefix != "" && !validKafkaName(o.Prefix) {
		bad.WithField("/prefix", "may hold letters, digits, dots, - and _ only")
	}
	if o.Replication < 0 || o.Replication > 32 {
		bad.WithField("/replication", "must be from 1 to 32, or left out")
	}
	if o.MinInSync < 0 || o.Replication > 0 && o.MinInSync > o.Replication {
		bad.WithField("/minInSync", "must not be more than replication")
	}
	o.SASL.check(bad)
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// validKafkaName reports whether Kafka takes a name of a topic, or a part of one.
func validKafkaName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && s != "." && s != ".." && len(s) <= 249
}
