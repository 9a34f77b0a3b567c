package delivery

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Owners of a subscription.
const (
	OwnerFile   = "file"
	OwnerAPI    = "api"
	OwnerOrphan = "orphan" // an earlier configuration file declared it; never recorded as such
)

// Limits of a declaration.
const (
	maxConcurrency = 1024
	maxAttempts    = 1000
	// maxVersions is how many versions of a declaration are kept. Older ones are dropped once reading is past them.
	maxVersions = 32
)

// config is the record of a subscription's configuration.
type config struct {
	Version  int    `json:"v"`
	Owner    string `json:"owner"`
	Epoch    uint64 `json:"epoch"` // rises with each seek
	Paused   bool   `json:"paused,omitempty"`
	Orphan   bool   `json:"orphan,omitempty"`
	Disabled string `json:"disabled,omitempty"` // why
	Deleted  bool   `json:"deleted,omitempty"`  // what is left of it is being removed

	Versions []version `json:"versions"` // oldest first; the last is the current one
}

// version is a declaration and from where on its topics and filter held. The rest of a declaration holds at once.
type version struct {
	Declaration tandem.Subscription `json:"declaration"`
	Epoch       uint64              `json:"epoch"`
	From        places              `json:"from"`
	At          time.Time           `json:"at"`
}

func (c *config) current() *tandem.Subscription { return &c.Versions[len(c.Versions)-1].Declaration }

func (c *config) etag() string {
	sum := tandem.Fingerprint(c.Owner, string(jsonValue(c.current())))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// places are offsets in many partitions.
type places struct {
	Number uint64                 `json:"number,omitempty"` // in every partition that Parts does not have
	Parts  map[driver.ID][]uint64 `json:"parts,omitempty"`
}

func (p *places) at(topic driver.ID, part int) uint64 {
	if offsets, ok := p.Parts[topic]; ok && part < len(offsets) {
		return offsets[part]
	}
	return p.Number
}

// Check reports what is wrong with declared subscriptions, as Apply would. Code: Invalid, Unsupported.
func (m *Manager) Check(declared []tandem.Subscription) error {
	seen := map[string]bool{}
	for i := range declared {
		sub := &declared[i]
		if seen[sub.Name] {
			return tandem.Errorf(tandem.CodeInvalid, "subscription %s is declared twice", sub.Name)
		}
		seen[sub.Name] = true
		if err := m.check(sub, true); err != nil {
			return tandem.Wrap("subscription "+sub.Name, err)
		}
	}
	return nil
}

func (m *Manager) check(sub *tandem.Subscription, trusted bool) error {
	bad := tandem.Errorf(tandem.CodeInvalid, "the subscription is invalid")
	if !tandem.ValidTopicName(sub.Name) {
		bad.WithField("/name", "%q must be segments of a-z, 0-9, _ and - separated by dots", sub.Name)
	}
	if len(sub.Topics) == 0 {
		bad.WithField("/topics", "needs at least one topic")
	}
	for i, t := range sub.Topics {
		if strings.HasPrefix(t, "_") {
			bad.WithField("/topics/"+strconv.Itoa(i), "%q is a topic of Tandem's own", t)
		} else if _, err := eventlog.Select(t); err != nil {
			bad.WithField("/topics/"+strconv.Itoa(i), "%q is not the name of a topic or a pattern", t)
		}
	}
	switch sub.Mode {
	case "", "event":
	case "request":
		return tandem.Errorf(tandem.CodeUnsupported, "mode request is not supported yet").WithField("/mode", "must be event")
	default:
		bad.WithField("/mode", "%q is not event", sub.Mode)
	}
	if _, err := tandem.ParseStart(sub.From); err != nil {
		bad.WithField("/from", "%q is not earliest, latest or an RFC 3339 time", sub.From)
	}
	if sub.Replies != "" && !tandem.ValidTopicName(sub.Replies) {
		bad.WithField("/replies", "%q is not the name of a topic", sub.Replies)
	}
	checkRange(bad, "/attempts", sub.Attempts, maxAttempts)
	checkRange(bad, "/concurrency", sub.Concurrency, maxConcurrency)
	for _, d := range []struct {
		at string
		d  tandem.Duration
	}{{"/timeout", sub.Timeout}, {"/backoff/base", sub.Backoff.Base}, {"/backoff/max", sub.Backoff.Max}} {
		if d.d < 0 {
			bad.WithField(d.at, "must not be negative")
		}
	}
	m.checkTarget(bad, sub, trusted)
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

func checkRange(bad *tandem.Error, at string, v, top int) {
	if v < 0 || v > top {
		bad.WithField(at, "must be from 1 to %d", top)
	}
}

func (m *Manager) checkTarget(bad *tandem.Error, sub *tandem.Subscription, trusted bool) {
	switch {
	case sub.Service != "" && sub.URL != "":
		bad.WithField("/url", "cannot stand beside service")
	case sub.Service != "":
		if _, ok := m.opts.Services(sub.Service); !ok {
			bad.WithField("/service", "no service %q is configured", sub.Service)
		}
		if ref, err := url.Parse(sub.Path); err != nil || ref.IsAbs() || ref.Host != "" || sub.Path != "" && !strings.HasPrefix(sub.Path, "/") {
			bad.WithField("/path", "must begin with /")
		}
	case sub.URL != "":
		if sub.Path != "" {
			bad.WithField("/path", "goes with service, not with url")
		}
		if !trusted && !m.opts.AllowURLs {
			bad.WithField("/url", "is not allowed here").WithHint("name a service of the configuration, or declare the subscription in the file")
		} else if u, err := url.Parse(sub.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad.WithField("/url", "must be an absolute http or https URL")
		} else if u.User != nil {
			bad.WithField("/url", "must not hold a user or password")
		}
	default:
		bad.WithField("/service", "is required")
	}
	m.checkSecret(bad, sub.Secret, trusted)
}

// checkSecret tells whom the API serves nothing but that a secret cannot be used: why not would tell what is on this machine.
func (m *Manager) checkSecret(bad *tandem.Error, ref string, trusted bool) {
	switch {
	case ref == "":
		return
	case !trusted && !strings.HasPrefix(ref, "env:"):
		bad.WithField("/secret", "must be env:NAME; file:PATH is for the configuration file")
		return
	}
	_, err := m.secret(ref)
	switch {
	case err == nil:
	case trusted:
		bad.WithField("/secret", "%s", tandem.ProblemOf(err).Detail)
	default:
		bad.WithField("/secret", "does not name a secret of webhooks: whsec_ and 24 to 64 bytes in base64")
	}
}

func (m *Manager) secret(ref string) ([]byte, error) {
	if m.opts.Secrets == nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "secrets are not available here")
	}
	text, err := m.opts.Secrets(ref)
	if err != nil {
		return nil, err
	}
	return tandem.ParseWebhookSecret(text)
}

// sameDeclaration compares what two declarations say.
func sameDeclaration(a, b *tandem.Subscription) bool {
	return string(jsonValue(a)) == string(jsonValue(b))
}

// sameSelection reports whether both read the same events.
func sameSelection(a, b *tandem.Subscription) bool {
	return slices.Equal(a.Topics, b.Topics) && a.Filter.String() == b.Filter.String()
}

func matchesTopic(sub *tandem.Subscription, topic string) bool {
	for _, p := range sub.Topics {
		if tandem.MatchTopic(p, topic) {
			return true
		}
	}
	return false
}

// ends returns the places after all that is stored now. Topics that appear later are read from their start.
func (m *Manager) ends(ctx context.Context, sub *tandem.Subscription) (places, error) {
	p, err := m.placesOf(ctx, sub, func(b driver.Bounds, _ driver.ID, _ int) (uint64, error) { return b.End, nil })
	if err == nil && m.log.Info().TotalOrder {
		// One sequence: what is stored from now on, in any topic, has a higher number than all that is there.
		for _, offsets := range p.Parts {
			p.Number = max(p.Number, slices.Max(offsets))
		}
		p.Parts = nil
	}
	return p, err
}

// placesOf asks at for the place in each partition of the topics that sub matches now.
func (m *Manager) placesOf(ctx context.Context, sub *tandem.Subscription, at func(driver.Bounds, driver.ID, int) (uint64, error)) (places, error) {
	p := places{Parts: map[driver.ID][]uint64{}}
	for _, t := range m.log.Topics() {
		if !matchesTopic(sub, t.Name) {
			continue
		}
		offsets := make([]uint64, t.Partitions)
		for i := range offsets {
			b, err := m.log.Bounds(ctx, t.ID, i)
			if err != nil {
				return places{}, err
			}
			if offsets[i], err = at(b, t.ID, i); err != nil {
				return places{}, err
			}
		}
		p.Parts[t.ID] = offsets
	}
	return p, nil
}

// placesOfCursor returns the places of a cursor. Codes: Invalid, NotFound, Gone (what it points to is not in this log any
// more), Unsupported.
func (m *Manager) placesOfCursor(ctx context.Context, sub *tandem.Subscription, c tandem.Cursor) (places, error) {
	if !m.log.Info().TotalOrder {
		return places{}, tandem.Errorf(tandem.CodeUnsupported, "this engine cannot seek a subscription to a cursor").WithHint("seek to a time")
	}
	sel, err := eventlog.Select(sub.Topics...)
	if err != nil {
		return places{}, err
	}
	r, err := m.log.NewReader(ctx, sel, tandem.Start{Cursor: c})
	if err != nil {
		return places{}, err
	}
	defer r.Close()
	page, err := r.Read(ctx, tandem.Filter{}, 1)
	switch {
	case err != nil:
		return places{}, err
	case page.Gap != nil && page.Gap.Reason != tandem.GapRetention:
		return places{}, tandem.Errorf(tandem.CodeGone, "the cursor belongs to another log or to a topic that was deleted").WithHint("seek to a time, earliest or latest")
	case len(page.Events) > 0:
		return places{Number: page.Events[0].Position.Offset}, nil
	}
	return m.ends(ctx, sub)
}

// start returns the places that a new subscription begins at.
func (m *Manager) start(ctx context.Context, sub *tandem.Subscription, from tandem.Start) (places, error) {
	switch {
	case from.Earliest:
		return places{}, nil
	case from.Time != "":
		at, ok := tandem.ParseTime(from.Time)
		if !ok {
			return places{}, tandem.Errorf(tandem.CodeInvalid, "%q is not an RFC 3339 time", from.Time)
		}
		return m.placesOf(ctx, sub, func(_ driver.Bounds, id driver.ID, part int) (uint64, error) {
			return m.log.OffsetAt(ctx, id, part, at)
		})
	case from.Cursor != "":
		return m.placesOfCursor(ctx, sub, from.Cursor)
	}
	return m.ends(ctx, sub)
}

// parseConfig reads a configuration record.
func parseConfig(b []byte) (config, error) {
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return config{}, errFormat
	}
	if c.Version != formatVersion || len(c.Versions) == 0 {
		return config{}, errFormat
	}
	return c, nil
}
