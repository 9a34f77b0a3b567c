package delivery

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
)

// maxAMQPName is how long the name of an exchange or a queue may be.
const maxAMQPName = 255

// checkAMQP checks the declaration of a subscription that publishes to RabbitMQ. What says how to send over HTTP has no meaning there, and is
// refused.
func (m *Manager) checkAMQP(bad *tandem.Error, sub *tandem.Subscription, trusted bool) {
	if !trusted { // its URL would lead past the guard of egress
		bad.WithField("/amqp", "is for the configuration file")
		return
	}
	for _, f := range []struct {
		at  string
		set bool
	}{
		{"/service", sub.Service != ""},
		{"/path", sub.Path != ""},
		{"/url", sub.URL != ""},
		{"/secret", sub.Secret != ""},
		{"/oldSecrets", len(sub.OldSecrets) > 0},
		{"/headers", len(sub.Headers) > 0},
		{"/auth", sub.Auth != nil},
		{"/handshake", sub.Handshake},
		{"/replies", sub.Replies != ""},
		{"/retryAfter", sub.RetryAfter != 0},
		{"/answers", len(sub.Answers) > 0},
	} {
		if f.set {
			bad.WithField(f.at, "cannot stand beside amqp")
		}
	}
	if sub.Content != tandem.ContentBatch {
		checkOneOf(bad, "/content", sub.Content, tandem.ContentBinary, tandem.ContentStructured)
	} else {
		bad.WithField("/content", "must be binary or structured: a message holds one event")
	}
	a := sub.AMQP
	switch {
	case a.Exchange == "" && a.Queue == "":
		bad.WithField("/amqp", "must name an exchange or a queue")
	case a.Exchange != "" && a.Queue != "":
		bad.WithField("/amqp/queue", "cannot stand beside exchange")
	case a.Queue != "" && a.RoutingKey != "":
		bad.WithField("/amqp/routingKey", "goes with exchange")
	}
	if len(a.Exchange) > maxAMQPName {
		bad.WithField("/amqp/exchange", "must be %d bytes at most", maxAMQPName)
	}
	if len(a.Queue) > maxAMQPName {
		bad.WithField("/amqp/queue", "must be %d bytes at most", maxAMQPName)
	}
	if _, err := amqp.ParseRoutingKey(a.RoutingKey); err != nil {
		bad.WithField("/amqp/routingKey", "%s", tandem.ProblemOf(err).Detail)
	}
	if !isReference(a.URL) {
		if why := amqp.CheckURL(a.URL); why != "" {
			bad.WithField("/amqp/url", "%s", why)
			return
		}
	}
	if m.unread || len(bad.Fields) > 0 {
		return
	}
	if _, err := m.amqpAddress(a); err != nil {
		bad.WithField("/amqp/url", "%s", tandem.ProblemOf(err).Detail)
	}
}

// amqpAddress resolves the references of an address. Nothing of what they name is in its errors.
func (m *Manager) amqpAddress(a *tandem.AMQP) (amqp.Address, error) {
	return amqp.Resolve(a.URL, a.TLS, m.secret)
}
