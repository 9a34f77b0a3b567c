package delivery

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// maxVersions is how many versions of a declaration are kept. Older ones are dropped once reading is past them.
const maxVersions = 32

// config is the record of a subscription's configuration.
type config struct {
	Version int    `json:"v"`
	Owner   string `json:"owner"`
	Epoch   uint64 `json:"epoch"`          // rises with each seek
	Born    int64  `json:"born,omitempty"` // Unix nanoseconds of its creation
	Paused  bool   `json:"paused,omitempty"`
	// PausedFor is why, when it was not by request.
	PausedFor string `json:"pausedFor,omitempty"`
	Orphan    bool   `json:"orphan,omitempty"`
	Disabled  string `json:"disabled,omitempty"` // why
	// Since when it is what it is; zero where a version of Tandem that did not note it stopped it.
	PausedAt   time.Time `json:"pausedAt,omitzero"`
	PausedBy   string    `json:"pausedBy,omitempty"` // who asked for it
	OrphanAt   time.Time `json:"orphanAt,omitzero"`
	DisabledAt time.Time `json:"disabledAt,omitzero"`
	Deleted    bool      `json:"deleted,omitempty"` // what is left of it is being removed
	Replays    int       `json:"replays,omitempty"` // number of the newest replay of it
	// Moved has the migrations that it has come through, oldest first.
	Moved []moved `json:"moved,omitempty"`

	// Of a replay: where it ends, when all up to there had its outcome, and whether the file owned what it replays.
	Until   *places   `json:"until,omitempty"`
	Ended   time.Time `json:"ended,omitzero"`
	Trusted bool      `json:"trusted,omitempty"`

	Versions []version `json:"versions"`        // oldest first; the last is the current one
	First    int       `json:"first,omitempty"` // how many there were before them
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
		sub := declared[i]
		if seen[sub.Name] {
			return tandem.Errorf(tandem.CodeInvalid, "subscription %s is declared twice", sub.Name)
		}
		seen[sub.Name] = true
		if err := declaresReplay(&sub); err != nil {
			return tandem.Wrap("subscription "+sub.Name, err)
		}
		if err := m.check(&sub, true); err != nil {
			return ofFile(sub.Name, err)
		}
	}
	return nil
}

// ofFile puts the subscription before the fields that are wrong, since a file declares many.
func ofFile(name string, err error) error {
	var e *tandem.Error
	if errors.As(err, &e) {
		out := *e
		out.Fields = slices.Clone(e.Fields)
		for i := range out.Fields {
			out.Fields[i].Pointer = "/subscriptions/" + name + out.Fields[i].Pointer
		}
		err = &out
	}
	return tandem.Wrap("subscription "+name, err)
}

// CheckDeclared reports what is wrong with a declaration of the file, as far as that shows without the process that is to run it: secrets
// are not read. Of opts, Services and Conditions count. Codes: Invalid, with pointers into the declaration, Unsupported.
func CheckDeclared(sub tandem.Subscription, opts Options) error {
	if err := declaresReplay(&sub); err != nil {
		return err
	}
	return (&Manager{opts: opts, unread: true}).check(&sub, true)
}

// declaresReplay refuses what only a replay has. Code: Invalid.
func declaresReplay(sub *tandem.Subscription) error {
	if sub.Replay == nil {
		return nil
	}
	return tandem.Errorf(tandem.CodeInvalid, "a replay cannot be declared").WithField("/replay", "must be absent").WithHint("replay the subscription")
}

// check binds the filter, too.
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
	m.bindFilter(bad, "/filter", &sub.Filter)
	if err := m.checkMode(bad, sub); err != nil {
		return err
	}
	if _, err := tandem.ParseStart(sub.From); err != nil {
		bad.WithField("/from", "%q is not earliest, latest or an RFC 3339 time", sub.From)
	}
	if sub.Replies != "" && !tandem.ValidTopicName(sub.Replies) {
		bad.WithField("/replies", "%q is not the name of a topic", sub.Replies)
	}
	checkPolicy(bad, sub)
	m.checkTarget(bad, sub, trusted)
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// sameDeclaration compares what two declarations say.
func sameDeclaration(a, b *tandem.Subscription) bool {
	return string(jsonValue(a)) == string(jsonValue(b))
}

// sameSelection reports whether both read the same events.
func sameSelection(a, b *tandem.Subscription) bool {
	return slices.Equal(a.Topics, b.Topics) && a.Filter.String() == b.Filter.String() && isRequest(a) == isRequest(b)
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
	if m.log.Info().TotalOrder {
		// One sequence: what is stored from now on, in any topic, has a higher number than all that is there, also in the topics that
		// sub does not match any more.
		return m.endOfAll(ctx)
	}
	return m.placesOf(ctx, sub, func(b driver.Bounds, _ driver.ID, _ int) (uint64, error) { return b.End, nil })
}

// endOfAll returns the place after everything that is stored, in an engine with one sequence.
func (m *Manager) endOfAll(ctx context.Context) (p places, err error) {
	for _, t := range m.log.Topics() {
		for i := range t.Partitions {
			b, err := m.log.Bounds(ctx, t.ID, i)
			if tandem.CodeOf(err) == tandem.CodeNotFound {
				continue // deleted meanwhile
			}
			if err != nil {
				return places{}, err
			}
			p.Number = max(p.Number, b.End)
		}
	}
	return p, nil
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

// parseConfig reads a configuration record. Its filters are not bound.
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
