package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

// topology is what a configuration wires together.
type topology struct {
	Engine   engineInfo  `json:"engine"`
	Services []string    `json:"services"`
	Routes   []routeLink `json:"routes"`
	Topics   []topicLink `json:"topics"`
	// LooseSources store in topics that the file does not declare.
	LooseSources []looseSource `json:"looseSources,omitempty"`
	// Loose are subscriptions to topics that the file does not declare.
	Loose []subscriptionLink `json:"loose,omitempty"`

	subscriptions, sources int
}

type looseSource struct {
	sourceLink
	Topic string `json:"topic"`
}

// engineInfo is where events are stored, and what that means.
type engineInfo struct {
	Name         string              `json:"name"`
	Where        string              `json:"where,omitempty"`
	Capabilities []driver.Capability `json:"capabilities"`
}

type routeLink struct {
	Match     string   `json:"match"`
	Kind      string   `json:"kind"` // service, topic, stream, operation, client
	To        []string `json:"to,omitempty"`
	Publish   string   `json:"publish,omitempty"` // topic that stores what clients of a stream send
	Mode      string   `json:"mode"`              // request or event
	Note      string   `json:"note,omitempty"`
	Authorize []string `json:"authorize,omitempty"`
}

type topicLink struct {
	Name          string             `json:"name"`
	Partitions    int                `json:"partitions"`
	Retention     string             `json:"retention"`
	Sources       []sourceLink       `json:"sources,omitempty"`
	Subscriptions []subscriptionLink `json:"subscriptions,omitempty"`
}

type sourceLink struct {
	Name string `json:"name"`
	From string `json:"from"`
}

type subscriptionLink struct {
	Name    string         `json:"name"`
	Topics  []string       `json:"topics"`
	Filter  *tandem.Filter `json:"filter,omitempty"`
	To      string         `json:"to"`
	Mode    string         `json:"mode"`
	Replies string         `json:"replies,omitempty"`

	Parallel bool `json:"parallel,omitempty"` // with mode request
}

func topologyOf(o *server.Options) *topology {
	info := o.Engine.Declares()
	t := &topology{subscriptions: len(o.Subscriptions), sources: len(o.Sources), Engine: engineInfo{o.Engine.Name(), o.Engine.Where(), info.Capabilities()}}
	for _, s := range o.Services {
		t.Services = append(t.Services, s.Name)
	}
	for i := range o.Routes {
		t.Routes = append(t.Routes, linkOfRoute(&o.Routes[i]))
	}
	placed, declared := map[string]bool{}, map[string]bool{}
	for _, topic := range o.Topics {
		l := topicLink{Name: topic.Name, Partitions: topic.Partitions, Retention: retention(topic.Retention)}
		if l.Partitions == 0 {
			l.Partitions = tandem.DefaultPartitions
		}
		declared[topic.Name] = true
		for i := range o.Sources {
			if o.Sources[i].Topic == topic.Name {
				l.Sources = append(l.Sources, linkOfSource(&o.Sources[i]))
			}
		}
		for i := range o.Subscriptions {
			if s := &o.Subscriptions[i]; reads(s, topic.Name) {
				placed[s.Name] = true
				l.Subscriptions = append(l.Subscriptions, linkOfSubscription(s))
			}
		}
		t.Topics = append(t.Topics, l)
	}
	for i := range o.Sources {
		if s := &o.Sources[i]; !declared[s.Topic] {
			t.LooseSources = append(t.LooseSources, looseSource{linkOfSource(s), s.Topic})
		}
	}
	for i := range o.Subscriptions {
		if s := &o.Subscriptions[i]; !placed[s.Name] {
			t.Loose = append(t.Loose, linkOfSubscription(s))
		}
	}
	return t
}

func reads(s *tandem.Subscription, topic string) bool {
	for _, pattern := range s.Topics {
		if tandem.MatchTopic(pattern, topic) {
			return true
		}
	}
	return false
}

func linkOfRoute(r *gateway.Route) routeLink {
	l := routeLink{Match: r.Match}
	for _, a := range r.Authorize {
		l.Authorize = append(l.Authorize, a.Service)
	}
	switch {
	case r.Service != "":
		l.Kind, l.To, l.Mode = "service", []string{r.Service}, "request"
	case r.Topic != "":
		l.Kind, l.To, l.Mode = "topic", []string{r.Topic}, "event"
		l.Note = "stored as " + r.Type
		if r.Respond != nil {
			l.Note += ", answered by " + r.Respond.Type
		}
	case r.Stream != nil:
		l.Kind, l.To, l.Mode = "stream", r.Stream.Topics, "event"
		var notes []string
		if !r.Stream.Filter.IsZero() {
			notes = append(notes, r.Stream.Filter.String())
		}
		if r.Stream.Slow != "" && r.Stream.Slow != tandem.SlowCatchUp {
			notes = append(notes, "slow: "+string(r.Stream.Slow))
		}
		if p := r.Stream.Publish; p != nil {
			l.Publish = p.Topic
			notes = append(notes, "what clients send is stored in "+p.Topic+" as "+p.Type)
		}
		l.Note = strings.Join(notes, ", ")
	case r.Client:
		l.Kind, l.Mode, l.Note = "client", "request", "the browser module"
	default:
		l.Kind, l.Mode, l.Note = "operation", "request", "the public face of operations"
	}
	if r.Operation != nil && !r.Operation.Public {
		s := r.Operation.Spec
		l.Note = strings.TrimPrefix(l.Note+", ", ", ") + "operation until " + strings.Join(append(append([]string(nil), s.Succeed...), s.Fail...), " or ")
	}
	return l
}

func linkOfSubscription(s *tandem.Subscription) subscriptionLink {
	l := subscriptionLink{Name: s.Name, Topics: s.Topics, Mode: "event", Replies: s.Replies, Parallel: s.Parallel, To: target(s)}
	if s.Mode != "" {
		l.Mode = s.Mode
	}
	if !s.Filter.IsZero() {
		l.Filter = &s.Filter
	}
	return l
}

func linkOfSource(s *source.Source) sourceLink {
	return sourceLink{Name: s.Name, From: "RabbitMQ queue " + s.AMQP.Queue}
}

func retention(d tandem.Duration) string {
	switch {
	case d < 0:
		return "forever"
	case d == 0:
		d = tandem.Duration(tandem.DefaultRetention)
	}
	return shortDuration(time.Duration(d))
}

// shortDuration leaves out the zero parts of Go's text form: 168h, not 168h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (t *topology) counts() string {
	parts := []string{count(len(t.Services), "service"), count(len(t.Topics), "topic"), count(len(t.Routes), "route"), count(t.subscriptions, "subscription")}
	if t.sources > 0 {
		parts = append(parts, count(t.sources, "source"))
	}
	return strings.Join(parts, ", ")
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func (e *engineInfo) print(a *app) {
	where := ""
	if e.Where != "" {
		where = " at " + e.Where
	}
	a.printf("%s\n  %s%s\n", a.style(bold, "engine"), a.style(cyan, e.Name), where)
	for _, c := range e.Capabilities {
		a.printf("    %-8s %s\n", c.Name, a.style(faint, c.Is))
	}
	a.printf("\n")
}

func (t *topology) print(a *app) {
	t.Engine.print(a)
	if len(t.Routes) > 0 {
		a.printf("%s\n", a.style(bold, "routes"))
		wide := 0
		for _, r := range t.Routes {
			wide = max(wide, len(r.Match))
		}
		for _, r := range t.Routes {
			a.printf("  %-*s  %s %s%s%s\n", wide, r.Match, a.mode(r.Mode), strings.TrimSpace(r.Kind+" "+strings.Join(r.To, ", ")), bracketed(r.Note), authorizedBy(r.Authorize))
		}
		a.printf("\n")
	}
	if len(t.Topics) > 0 {
		a.printf("%s\n", a.style(bold, "topics"))
		for _, topic := range t.Topics {
			a.printf("  %s (%s, kept %s)\n", a.style(cyan, topic.Name), count(topic.Partitions, "partition"), topic.Retention)
			for _, s := range topic.Sources {
				a.printf("    %s\n", s.text(a))
			}
			for _, s := range topic.Subscriptions {
				a.printf("    %s\n", s.text(a))
			}
			if len(topic.Subscriptions) == 0 {
				a.printf("    %s\n", a.style(faint, "no subscription"))
			}
		}
		a.printf("\n")
	}
	if len(t.LooseSources) > 0 {
		a.printf("%s\n", a.style(bold, "sources of topics that are not declared here"))
		for _, s := range t.LooseSources {
			a.printf("  %s: %s\n", s.Topic, s.text(a))
		}
		a.printf("\n")
	}
	if len(t.Loose) > 0 {
		a.printf("%s\n", a.style(bold, "subscriptions to topics that are not declared here"))
		for _, s := range t.Loose {
			a.printf("  %s: %s\n", strings.Join(s.Topics, ", "), s.text(a))
		}
		a.printf("\n")
	}
}

func (s *sourceLink) text(a *app) string {
	return a.style(faint, "←event─") + " " + s.Name + " ← " + s.From
}

func (a *app) mode(mode string) string {
	return a.style(faint, "─"+mode+"→")
}

func (s *subscriptionLink) text(a *app) string {
	text := a.mode(s.Mode) + " " + s.Name + " → " + s.To
	if s.Filter != nil {
		text += bracketed(s.Filter.String())
	}
	if s.Replies != "" {
		text += ", replies to " + s.Replies
	}
	if s.Parallel {
		text += ", parallel"
	}
	return text
}

func bracketed(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

func authorizedBy(services []string) string {
	if len(services) == 0 {
		return ""
	}
	return ", authorized by " + strings.Join(services, " and ")
}
