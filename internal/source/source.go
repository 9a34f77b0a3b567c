package source

import (
	"context"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
)

const (
	// DefaultPrefetch is how many messages a source holds without acknowledgement, unless it says otherwise.
	DefaultPrefetch = 200
	// MaxPrefetch is the largest Prefetch.
	MaxPrefetch = 10_000

	maxQueueName = 255 // bytes, a limit of AMQP
)

// Source is the declaration of a source.
type Source struct {
	Name  string
	AMQP  AMQP
	Topic string // where its events are stored

	// Messages that are no CloudEvents become events of Type, which must be given for them, and of the source attribute Source; empty means
	// /sources/NAME.
	Type   string
	Source string
}

// AMQP is a queue of RabbitMQ.
type AMQP struct {
	URL      string // as tandem.AMQP.URL
	Queue    string
	Prefetch int // messages without acknowledgement; zero means DefaultPrefetch
	TLS      *tandem.TLSAuth
}

// equal reports whether two declarations say the same.
func (s *Source) equal(o *Source) bool {
	a, b := *s, *o
	if a.AMQP.TLS != nil && b.AMQP.TLS != nil {
		if *a.AMQP.TLS != *b.AMQP.TLS {
			return false
		}
		a.AMQP.TLS, b.AMQP.TLS = nil, nil
	}
	return a == b
}

func (s *Source) defaults() amqp.Defaults {
	d := amqp.Defaults{Type: s.Type, Source: s.Source}
	if d.Source == "" {
		d.Source = "/sources/" + s.Name
	}
	return d
}

func (s *Source) prefetch() int {
	if s.AMQP.Prefetch == 0 {
		return DefaultPrefetch
	}
	return s.AMQP.Prefetch
}

// CheckDeclared reports what is wrong with a declaration, as far as that shows without the process that is to run it: secrets are not read.
// Code: Invalid, with pointers into the declaration.
func CheckDeclared(s Source) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the source is invalid")
	if !tandem.ValidTopicName(s.Name) {
		bad.WithField("/name", "%q must be segments of a-z, 0-9, _ and - separated by dots", s.Name)
	}
	if !tandem.ValidTopicName(s.Topic) || strings.HasPrefix(s.Topic, "_") {
		bad.WithField("/topic", "%q is not the name of a topic of yours", s.Topic)
	}
	if s.AMQP.Queue == "" || len(s.AMQP.Queue) > maxQueueName {
		bad.WithField("/amqp/queue", "is required, at most %d bytes", maxQueueName)
	}
	if s.AMQP.Prefetch < 0 || s.AMQP.Prefetch > MaxPrefetch {
		bad.WithField("/amqp/prefetch", "must be from 1 to %d", MaxPrefetch)
	}
	if !amqp.IsReference(s.AMQP.URL) {
		if why := amqp.CheckURL(s.AMQP.URL); why != "" {
			bad.WithField("/amqp/url", "%s", why)
		}
	}
	e := tandem.Event{ID: "-", Type: s.Type, Source: s.defaults().Source}
	if e.Type == "" {
		e.Type = "-"
	}
	if err := tandem.CheckEvent(&e); err != nil { // of the two that are declared
		for _, f := range tandem.ProblemOf(err).Errors {
			bad.WithField(f.Pointer, "%s", f.Detail)
		}
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// Publisher stores events durably; chain.Chain does, after their request links have taken them.
type Publisher interface {
	Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error)
}
