package kafkalog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tandem-hybrid/tandem"
)

// newClient makes a client of the cluster with what all of ours have in common.
//
// Metadata may be asked for often, and waits between tries are short: after a change of leader a client is as quick as its metadata.
func (o *Options) newClient(more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID("tandem"),
		kgo.WithLogger(clientLog{o.Logger}),
		kgo.DialTimeout(o.DialTimeout),
		kgo.RequestTimeoutOverhead(o.Timeout),
		kgo.RetryTimeout(o.Timeout),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(30 * time.Second),
		kgo.RetryBackoffFn(func(try int) time.Duration { return min(time.Duration(try)*50*time.Millisecond, 500*time.Millisecond) }),
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.Dial != nil {
		opts = append(opts, kgo.Dialer(o.Dial))
	}
	if m := o.SASL.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "the Kafka client refuses its options: %w", err)
	}
	return cl, nil
}

// producing is what all producers have in common. A record is tried until its outcome is known, since only that keeps order and counts it once:
// senders stop waiting before. The client's own limit would count from the record's time stamp, which is when the event was accepted.
func (e *Engine) producing() []kgo.Opt {
	o := &e.opts
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytesFn(e.batchLimit),
		kgo.ProduceRequestTimeout(o.Timeout),
		kgo.UnknownTopicRetries(10), // a topic that was just made, on a broker that does not know it yet
		kgo.MaxBufferedRecords(100_000),
		kgo.MaxBufferedBytes(256 << 20),
	}
}

// batchLimit is the largest batch that a topic takes.
func (e *Engine) batchLimit(kafka string) int32 {
	if t, _ := e.topics.ofKafka(kafka, 0); t != nil {
		return int32(t.limit)
	}
	return int32(e.opts.MaxMessageBytes)
}

const (
	saslPlain  = "plain"
	saslSHA256 = "scram-sha-256"
	saslSHA512 = "scram-sha-512"
	saslOAuth  = "oauthbearer"
)

func (s *SASL) check(bad *tandem.Error) {
	switch strings.ToLower(s.Mechanism) {
	case "":
		return
	case saslPlain, saslSHA256, saslSHA512:
		if s.User == "" {
			bad.WithField("/sasl/user", "is required")
		}
	case saslOAuth:
	default:
		bad.WithField("/sasl/mechanism", "must be %s, %s, %s or %s", saslPlain, saslSHA256, saslSHA512, saslOAuth)
	}
	if s.Secret == nil {
		bad.WithField("/sasl/secret", "is required")
	}
}

// mechanism returns nil when there is none.
func (s *SASL) mechanism() sasl.Mechanism {
	user, secret := s.User, s.Secret
	switch kind := strings.ToLower(s.Mechanism); kind {
	case saslPlain:
		return plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			p, err := secret(ctx)
			return plain.Auth{User: user, Pass: p}, err
		})
	case saslSHA256, saslSHA512:
		auth := func(ctx context.Context) (scram.Auth, error) {
			p, err := secret(ctx)
			return scram.Auth{User: user, Pass: p}, err
		}
		if kind == saslSHA256 {
			return scram.Sha256(auth)
		}
		return scram.Sha512(auth)
	case saslOAuth:
		return bearer{oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			p, err := secret(ctx)
			return oauth.Auth{Token: p}, err
		})}
	}
	return nil
}

// bearer is OAUTHBEARER (RFC 7628), and says why a broker does not take a token, which the client's own does not.
type bearer struct{ sasl.Mechanism }

func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	_, first, err := b.Mechanism.Authenticate(ctx, host)
	return bearerSession{}, first, err
}

type bearerSession struct{}

// Challenge takes the answer to the token: none, or what is wrong with it in JSON (section 3.2.2), of which no more than the code is shown.
func (bearerSession) Challenge(answer []byte) (done bool, next []byte, err error) {
	if len(answer) == 0 {
		return true, nil, nil
	}
	var wrong struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(answer, &wrong) // the code is empty then
	return false, nil, fmt.Errorf("the broker does not take the token, with the status %.50q: see that it is for this broker and not expired", wrong.Status)
}

// clientLog passes on what the client warns of. It tells of every broken connection, which Health and errors tell of, too: so at debug level.
type clientLog struct{ to *slog.Logger }

func (l clientLog) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l.to.Debug("kafka client: "+msg, append([]any{"client_level", fmt.Sprint(level)}, keyvals...)...)
}
