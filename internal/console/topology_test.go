package console

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

func draw(config client.Configuration, topics []client.Topic, subs []subscriptionRow) *topology {
	t := newTopology(&config, topics, subs)
	t.layout()
	return t
}

func reader(name, topic, service, mode string) subscriptionRow {
	s := tandem.Subscription{Name: name, Topics: []string{topic}, Service: service, Mode: mode}
	return subscriptionRow{Subscription: client.Subscription{Subscription: s, Status: &tandem.SubscriptionStatus{State: "running"}}}
}

// TestTopology: what leads to what, as a request or as an event, and nothing covers anything.
func TestTopology(t *testing.T) {
	config := client.Configuration{Services: []tandem.Service{{Name: "a"}, {Name: "b"}}, Sources: []client.Source{{Name: "q", Queue: "q", Topic: "orders"}},
		Routes: []client.Route{{Match: "POST /x", Topic: "orders"}, {Match: "GET /a", Service: "a"}, {Match: "GET /a/{id}", Service: "a"}}}
	top := draw(config, []client.Topic{{Topic: tandem.Topic{Name: "orders"}}}, []subscriptionRow{reader("s1", "orders", "b", "event"), reader("s2", "*", "a", "request")})
	var got []string
	for _, l := range top.links {
		got = append(got, fmt.Sprintf("%s>%s %v", l.from.Name, l.to.Name, l.request))
	}
	slices.Sort(got)
	if want := "GET /a>a true, POST /x>orders false, orders>s1 false, orders>s2 true, q>orders false, s1>b false, s2>a true"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
	apart(t, top)
}

// TestTopologyOfMuch: a large system is drawn in part, with what is in trouble.
func TestTopologyOfMuch(t *testing.T) {
	var topics []client.Topic
	var subs []subscriptionRow
	for i := range 1000 {
		name := fmt.Sprintf("t%03d", i)
		topics = append(topics, client.Topic{Topic: tandem.Topic{Name: name}})
		subs = append(subs, reader("s"+name, name, "service", "event"))
	}
	subs[997].Status.State = "failing"
	top := draw(client.Configuration{}, topics, subs)
	if len(top.topics) != maxDrawnTopics || len(top.columns[2]) != maxDrawnSubscriptions || len(top.Nodes) > 200 || !strings.HasPrefix(top.Left, "960 topics and 940 subscriptions") {
		t.Errorf("%d topics, %d subscriptions, %d nodes, %q", len(top.topics), len(top.columns[2]), len(top.Nodes), top.Left)
	}
	if !slices.ContainsFunc(top.Nodes, func(n *node) bool { return n.Name == "st997" && n.Class == "bad" }) {
		t.Error("what fails is not drawn")
	}
	apart(t, top)
}

// apart checks that no box covers another, and that all are in the drawing.
func apart(t *testing.T, top *topology) {
	t.Helper()
	for i, a := range top.Nodes {
		if a.X < 0 || a.Y < 0 || a.X+nodeWidth > top.Width || a.Y+a.H > top.Height {
			t.Errorf("%s is outside: %+v", a.Name, a)
		}
		for _, b := range top.Nodes[i+1:] {
			if a.X == b.X && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s covers %s", a.Name, b.Name)
			}
		}
	}
}
