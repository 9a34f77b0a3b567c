package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// overview is everything at a glance: what needs attention, then how it hangs together.
type overview struct {
	Status    client.Status
	Attention []attention
	Figures   []figure
	Topology  *topology
}

// attention is something that somebody should look at.
type attention struct {
	Bad  bool // else it can wait
	What string
	Why  string
	Href string
}

type figure struct{ Name, Value, Href string }

const oldLag = time.Minute // from which on a lag needs attention

func (v *visit) overview() error {
	ctx := v.r.Context()
	status, err := v.api.Status(ctx)
	if err != nil {
		return err
	}
	config, err := v.api.Config(ctx)
	if err != nil {
		return err
	}
	topics, err := v.api.Topics(ctx)
	if err != nil {
		return err
	}
	topics = slices.DeleteFunc(topics, func(t client.Topic) bool { return strings.HasPrefix(t.Name, "_") }) // Tandem's own
	subs, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	o := overview{Status: status, Attention: attentionOf(&status, &config, subs)}
	t := newTopology(&config, topics, subs)
	rate := 0.0
	for i := range t.topics {
		row, err := v.topicRow(t.topics[i])
		if err != nil {
			return err
		}
		t.status(row)
		rate += max(row.Rate, 0)
	}
	t.health(status.Services)
	t.layout()
	if t.Nodes != nil {
		o.Topology = t
	}
	var lag, dead uint64
	for i := range subs {
		lag += subs[i].Status.Lag
		dead += uint64(subs[i].Status.Dead)
	}
	o.Figures = []figure{{"Topics", count(len(topics)), "/topics"}, {"Subscriptions", count(len(subs)), "/subscriptions"},
		{"Stored", rateText(rate), "/topics"}, {"Lag", count(lag), "/subscriptions?sort=lag"}, {"Dead letters", count(dead), "/dead-letters"},
		{"Streams", count(status.Streams), "/engine"}, {"Operations", count(status.Operations), "/operations"}}
	v.show(http.StatusOK, "overview", "Overview", &o)
	return nil
}

// attentionOf lists what is wrong, the worst first.
func attentionOf(status *client.Status, config *client.Configuration, subs []subscriptionRow) (all []attention) {
	add := func(bad bool, href, what, why string) {
		all = append(all, attention{bad, what, sentence(clean(why, 300)), href})
	}
	if !status.Ready {
		add(true, "/engine", "Events cannot be published", status.Reason)
	}
	for _, w := range status.Warnings {
		add(false, "/engine", "The engine's settings weaken a promise", w)
	}
	if config.Refused != nil {
		add(true, "/configuration", "The last reload was refused", config.Refused.Detail)
	}
	if len(config.Later) > 0 {
		add(false, "/configuration", "The file has keys that wait for the next start", fmt.Sprint(config.Later))
	}
	for _, s := range status.Services {
		if !s.Healthy {
			add(true, "/services", s.Service+" is not healthy at "+s.URL, s.Reason)
		}
	}
	for i := range subs {
		s := &subs[i]
		href := "/subscriptions/" + url.PathEscape(s.Name)
		switch class := stateClass(s.Status.State); {
		case class == "bad" || class == "warn":
			add(class == "bad", href, s.Name+" is "+s.Status.State, s.Status.Reason)
		case s.Status.LagSeconds > oldLag.Seconds():
			add(false, href, s.Name+" is behind", plural(s.Status.Lag, "event")+", the oldest "+durationText(time.Duration(s.Status.LagSeconds*float64(time.Second)))+" old")
		case s.Status.ParkedKeys > 0:
			add(false, href, s.Name+" holds back "+plural(s.Status.ParkedKeys, "key"), plural(s.Status.Waiting, "event")+" wait behind events that fail")
		}
		if s.Status.Dead > 0 {
			add(true, "/dead-letters/"+url.PathEscape(s.Name), s.Name+" has "+plural(s.Status.Dead, "dead letter"), "")
		}
	}
	slices.SortStableFunc(all, func(a, b attention) int {
		if a.Bad == b.Bad {
			return 0
		}
		return cmp.Compare(fmt.Sprint(b.Bad), fmt.Sprint(a.Bad))
	})
	return all
}

// reads reports whether a subscription, or a stream, with these names and patterns is given the events of a topic.
func reads(patterns []string, topic string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return tandem.MatchTopic(p, topic) })
}
