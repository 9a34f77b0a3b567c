package console

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// What is drawn at most; the lists have all.
const (
	maxDrawnTopics        = 40
	maxDrawnSubscriptions = 60
	maxDrawnServices      = 60
	maxMatches            = 4 // of the routes to one place
)

// topology is how routes, topics, subscriptions and services hang together, as a drawing in four columns. Requests are solid lines,
// events dashed ones.
type topology struct {
	drawing
	Left string // what is not drawn

	topics  []client.Topic
	columns [4][]*node // routes, topics, subscriptions, services and other targets
	byTopic map[string]*node
	targets map[string]*node
	links   []link
}

// drawing is boxes and lines between them.
type drawing struct {
	Nodes         []*node
	Edges         []edge
	Width, Height int
	Says          string // what is drawn, in words
}

type node struct {
	X, Y, H           int
	Name              string
	Lines             []string
	Full              string // for who points at it
	Href              string
	Class             string // of its state
	barycentre, feeds int    // of what leads to it
}

type link struct {
	from, to *node
	request  bool
	back     bool // it is drawn, and goes, from right to left
}

type edge struct {
	Path    string
	Request bool
}

// Sizes of the drawing.
const (
	nodeWidth, columnStep = 212, 286
	nodeGap, lineStep     = 14, 17
	nodeHead, nodeFoot    = 25, 8
	nameRunes, lineRunes  = 25, 31
)

func newTopology(config *client.Configuration, topics []client.Topic, subs []subscriptionRow) *topology {
	t := &topology{drawing: drawing{Says: "Routes, topics, subscriptions and services, and the lines between them"}, byTopic: map[string]*node{}, targets: map[string]*node{}}
	drawn := slices.Clone(subs)
	slices.SortStableFunc(drawn, func(a, b subscriptionRow) int { return trouble(&b) - trouble(&a) })
	drawn = drawn[:min(len(drawn), maxDrawnSubscriptions)]
	slices.SortFunc(drawn, func(a, b subscriptionRow) int { return strings.Compare(a.Name, b.Name) })
	t.choose(config, topics, drawn)
	if n, m := len(topics)-len(t.topics), len(subs)-len(drawn); n > 0 || m > 0 {
		t.Left = fmt.Sprintf("%s and %s are not drawn; the lists have them.", plural(n, "topic"), plural(m, "subscription"))
	}
	if len(config.Services) <= maxDrawnServices { // else those that something leads to
		for _, s := range config.Services {
			t.target(s.Name, serviceHref(s.Name))
		}
	}
	t.routes(config.Routes)
	for _, s := range config.Sources {
		n := t.add(0, &node{Name: s.Name, Lines: []string{"RabbitMQ queue " + s.Queue}, Href: "/configuration"})
		t.link(n, t.byTopic[s.Topic], false)
	}
	for i := range drawn {
		t.subscription(&drawn[i])
	}
	return t
}

// trouble orders subscriptions by how much they need to be seen.
func trouble(s *subscriptionRow) int {
	switch class := stateClass(s.Status.State); {
	case class == "bad":
		return 3
	case class == "warn" || s.Status.Dead > 0:
		return 2
	case s.Status.Lag > 0:
		return 1
	}
	return 0
}

// choose takes the topics that are drawn: those that something leads to or from before the others.
func (t *topology) choose(config *client.Configuration, topics []client.Topic, subs []subscriptionRow) {
	used := func(name string) bool {
		return slices.ContainsFunc(config.Routes, func(r client.Route) bool { return r.Topic == name || r.Stream != nil && reads(r.Stream.Topics, name) }) ||
			slices.ContainsFunc(subs, func(s subscriptionRow) bool { return reads(s.Topics, name) })
	}
	if len(topics) > maxDrawnTopics {
		var first, rest []client.Topic
		for _, topic := range topics {
			if len(first) < maxDrawnTopics && used(topic.Name) {
				first = append(first, topic)
			} else if len(rest) < maxDrawnTopics {
				rest = append(rest, topic)
			}
		}
		topics = append(first, rest...)[:maxDrawnTopics]
	}
	t.topics = topics
	for _, topic := range topics {
		t.byTopic[topic.Name] = t.add(1, &node{Name: topic.Name, Lines: []string{"", ""}, Href: "/topics/" + url.PathEscape(topic.Name)})
	}
}

func (t *topology) add(column int, n *node) *node {
	n.Full = strings.Join(append([]string{n.Name}, n.Lines...), "\n")
	t.columns[column] = append(t.columns[column], n)
	return n
}

func (t *topology) link(from, to *node, request bool) {
	if from != nil && to != nil {
		t.links = append(t.links, link{from: from, to: to, request: request})
	}
}

// target returns the node of a service, or of another place that deliveries go to.
func (t *topology) target(name, href string) *node {
	if n := t.targets[name]; n != nil {
		return n
	}
	n := t.add(3, &node{Name: name, Href: href})
	t.targets[name] = n
	return n
}

// routes adds those of the public listener, gathered by where they lead.
func (t *topology) routes(routes []client.Route) {
	type place struct{ kind, to string }
	var places []place
	matches := map[place][]string{}
	for i := range routes {
		r := &routes[i]
		var p place
		switch {
		case r.Service != "":
			p = place{"service", r.Service}
		case r.Topic != "":
			p = place{"topic", r.Topic}
		case r.Stream != nil:
			p = place{"stream", strings.Join(r.Stream.Topics, " ")}
		default:
			continue // Tandem answers it
		}
		if matches[p] == nil {
			places = append(places, p)
		}
		matches[p] = append(matches[p], r.Match)
	}
	slices.SortStableFunc(places, func(a, b place) int { return strings.Compare(a.kind, b.kind) }) // requests above, events below
	for _, p := range places {
		all := matches[p]
		n := t.add(0, &node{Name: all[0], Lines: all[1:], Href: "/configuration#routes"})
		n.Full += "\n" + p.kind + " " + p.to
		if more := len(all) - maxMatches; more > 0 {
			n.Lines = append(slices.Clone(all[1:maxMatches]), "and "+count(more)+" more")
		}
		switch p.kind {
		case "service":
			t.link(n, t.target(p.to, serviceHref(p.to)), true)
		case "topic":
			t.link(n, t.byTopic[p.to], false)
		case "stream":
			n.Lines = append(slices.Clone(n.Lines), "streams to clients")
			for _, topic := range t.topics {
				if reads(strings.Fields(p.to), topic.Name) {
					t.links = append(t.links, link{from: n, to: t.byTopic[topic.Name], back: true})
				}
			}
		}
	}
}

func (t *topology) subscription(s *subscriptionRow) {
	n := t.add(2, &node{Name: s.Name, Href: "/subscriptions/" + url.PathEscape(s.Name), Class: stateClass(s.Status.State)})
	n.Lines = []string{s.Status.State + " · " + rateText(s.Rate) + " · lag " + count(s.Status.Lag)}
	if s.Status.Dead > 0 {
		if n.Class == "good" {
			n.Class = "warn"
		}
		n.Lines = append(n.Lines, plural(s.Status.Dead, "dead letter"))
	}
	request := s.Mode == tandem.DeliverRequest
	n.Full += "\n" + n.Lines[0] + "\nmode " + s.Subscription.Mode
	for _, topic := range t.topics {
		if reads(s.Topics, topic.Name) {
			t.link(t.byTopic[topic.Name], n, request)
		}
	}
	if s.Service != "" {
		t.link(n, t.target(s.Service, serviceHref(s.Service)), request)
	} else {
		t.link(n, t.target(s.Target, n.Href), request)
	}
}

// status adds what a topic holds.
func (t *topology) status(row topicRow) {
	if n := t.byTopic[row.Name]; n != nil && row.Status != nil {
		n.Lines = []string{rateText(row.Rate) + " · " + plural(row.Status.Events, "event"), bytesText(row.Status.Bytes)}
		n.Full = strings.Join(append([]string{n.Name}, n.Lines...), "\n")
	}
}

// health adds how services are that are checked.
func (t *topology) health(services []tandem.ServiceHealth) {
	for name, n := range t.targets {
		all, well := 0, 0
		for _, s := range services {
			if s.Service == name {
				all++
				if s.Healthy {
					well++
				}
			}
		}
		switch {
		case all == 0:
		case well == all:
			n.Class, n.Lines = "good", []string{"healthy"}
		default:
			n.Class, n.Lines = "bad", []string{fmt.Sprintf("%d of %d healthy", well, all)}
		}
	}
}
