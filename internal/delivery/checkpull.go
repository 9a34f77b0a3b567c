package delivery

import "github.com/tandem-hybrid/tandem"

// checkPulled checks the declaration of a subscription that is pulled: what says how to send has no meaning there, and is refused.
func checkPulled(bad *tandem.Error, sub *tandem.Subscription) {
	checkVisibility(bad, "/pull/visibility", sub.Pull.Visibility)
	for _, f := range []struct {
		at  string
		set bool
	}{
		{"/service", sub.Service != ""},
		{"/path", sub.Path != ""},
		{"/url", sub.URL != ""},
		{"/amqp", sub.AMQP != nil},
		{"/secret", sub.Secret != ""},
		{"/oldSecrets", len(sub.OldSecrets) > 0},
		{"/headers", len(sub.Headers) > 0},
		{"/auth", sub.Auth != nil},
		{"/handshake", sub.Handshake},
		{"/content", sub.Content != ""},
		{"/replies", sub.Replies != ""},
		{"/timeout", sub.Timeout != 0},
		{"/retryAfter", sub.RetryAfter != 0},
		{"/answers", len(sub.Answers) > 0},
		{"/breaker", sub.Breaker != (tandem.Breaker{})},
	} {
		if f.set {
			bad.WithField(f.at, "cannot stand beside pull: nothing is sent")
		}
	}
}
