package delivery

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// sentence says a reason by its facts.
func sentence(r *tandem.Reason) string {
	d := r.Delivery
	switch r.Code {
	case tandem.WhyNoTopic:
		return fmt.Sprintf("There is no topic %q.", r.Position.Topic)
	case tandem.WhyNoEvent:
		return fmt.Sprintf("There is no event at %s.", r.Position)
	case tandem.WhyNoSubscription:
		if r.Subscription == "" {
			return fmt.Sprintf("No subscription selects the topic %s.", r.Position.Topic)
		}
		return fmt.Sprintf("There is no subscription %q.", r.Subscription)
	case tandem.WhyCallFailed:
		return fmt.Sprintf("The event was not stored: the call of %s in its request chain ended%s with: %s.", r.Subscription, at(r.Since), r.Detail)
	case tandem.WhyDuplicate:
		if r.Conflict {
			return fmt.Sprintf("It is given to nobody: its id and source were used before, for other data, by the event at %s.", r.First)
		}
		return fmt.Sprintf("It is given to nobody: it repeats the event at %s.", r.First)

	case tandem.WhyTopics:
		return fmt.Sprintf("Version %d of its declaration, in force since %s, selects %s and not %s.", d.Version, stamp(r.Since), strings.Join(r.Topics, ", "), r.Position.Topic)
	case tandem.WhyFilter:
		return fmt.Sprintf("The filter of version %d of its declaration, in force since %s, does not match%s.", d.Version, stamp(r.Since), clauseText(r.Clause))
	case tandem.WhyBefore:
		return fmt.Sprintf("The subscription began%s, after the event.", at(r.Since))
	case tandem.WhySeek:
		return fmt.Sprintf("A seek%s went over it.", at(r.Since))
	case tandem.WhyReplayEnd:
		return "The replay ends before it."

	case tandem.WhyPaused, tandem.WhyOrphan, tandem.WhyDisabled, tandem.WhyDamaged, tandem.WhyCapped, tandem.WhyStore, tandem.WhyEndpoint:
		return stopText(r) + behindText(r) + "."
	case tandem.WhyUnread:
		if r.Unread == 0 {
			return "It is not read yet, and is the next of its partition."
		}
		return fmt.Sprintf("It is not read yet: %d stored events of its partition come before it.", r.Unread)
	case tandem.WhyQueued:
		if r.Detail != "" {
			return "It is ready, and " + r.Detail + "."
		}
		return "It was read, and waits for a slot or for the rate."
	case tandem.WhyBehind:
		return "It waits" + behindText(r) + "."
	case tandem.WhySending:
		return fmt.Sprintf("Attempt %d is under way.", d.Attempts)
	case tandem.WhyLeased:
		return fmt.Sprintf("It is leased%s since %s, until %s.", by("to", r.By), stamp(r.Since), stamp(r.Until))
	case tandem.WhyRetrying:
		return fmt.Sprintf("It is not delivered %s; the next attempt is%s.", attemptsOf(d), at(r.NextAttempt))
	case tandem.WhyRedriving:
		return "It was a dead letter, and waits to be delivered again."

	case tandem.WhyDelivered:
		if d.Reason != "" {
			return fmt.Sprintf("It was delivered%s: %s.", at(r.Since), d.Reason)
		}
		return fmt.Sprintf("It was delivered%s, %s.", at(r.Since), onAttempt(d))
	case tandem.WhyDead:
		return fmt.Sprintf("It is a dead letter%s, %s: %s.", since(r.Since), onAttempt(d), d.Reason)
	case tandem.WhyDiscarded:
		return fmt.Sprintf("It was discarded%s, %s.", at(r.Since), d.Reason)
	case tandem.WhyExpired:
		return fmt.Sprintf("It expired%s: %s.", at(r.Since), d.Reason)
	}
	return fmt.Sprintf("What became of it is not known: %s.", d.Reason)
}

// stopText says why nothing of a subscription is delivered.
func stopText(r *tandem.Reason) string {
	switch r.Code {
	case tandem.WhyPaused:
		if r.By != "" {
			return "The subscription is paused" + since(r.Since) + by("by", r.By)
		}
		return "The subscription is paused" + since(r.Since) + ", " + r.Detail
	case tandem.WhyEndpoint:
		if r.NextAttempt.IsZero() {
			return "The endpoint fails" + since(r.Since) + ": " + r.Detail
		}
		return "The endpoint fails" + since(r.Since) + ": " + r.Detail + "; the next attempt is" + at(r.NextAttempt)
	case tandem.WhyCapped, tandem.WhyStore:
		return "The subscription stands still: " + r.Detail
	}
	return "The subscription is " + r.Code + since(r.Since) + ": " + r.Detail
}

// behindText names the event that another one waits for.
func behindText(r *tandem.Reason) string {
	if r.Behind == nil {
		return ""
	}
	text := fmt.Sprintf(" behind %s (%s) of the same key %q", r.Behind.ID, r.Behind.Position, r.Behind.Key)
	if r.Code == tandem.WhyBehind {
		text += ", which has no outcome " + r.Detail
		if !r.NextAttempt.IsZero() {
			text += ", and is tried again" + at(r.NextAttempt)
		}
		return text
	}
	return "; it waits" + text
}

// clauseText says which part of a filter is false, and what it saw.
func clauseText(c *tandem.FilterClause) string {
	if c == nil {
		return ""
	}
	text := ": " + c.Text + " is false"
	if c.Fault != "" {
		text += " (" + c.Fault + ")"
	}
	for i, v := range c.Saw {
		text += map[bool]string{true: ", where ", false: " and "}[i == 0] + v.String()
	}
	return text
}

// attemptsOf says how often a delivery was tried, and how the last attempt ended.
func attemptsOf(d *tandem.Delivery) string {
	text := "yet"
	switch n := d.Attempts + d.Probes; n {
	case 0:
		return text
	case 1:
		text += " after 1 attempt"
	default:
		text += fmt.Sprintf(" after %d attempts", n)
	}
	if n := len(d.History); n > 0 && d.History[n-1].Detail != "" {
		text += ", the last with " + d.History[n-1].Detail
	}
	return text
}

// onAttempt says on which attempt a delivery ended.
func onAttempt(d *tandem.Delivery) string {
	text := "at the first attempt"
	if d.Attempts > 1 {
		text = fmt.Sprintf("after %d attempts", d.Attempts)
	}
	if d.Probes > 0 {
		text += fmt.Sprintf(" and %d that did not count", d.Probes)
	}
	return text
}

func by(word, name string) string {
	if name == "" {
		return ""
	}
	return " " + word + " " + name
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func at(t time.Time) string    { return when(" at ", t) }
func since(t time.Time) string { return when(" since ", t) }

func when(word string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return word + stamp(t)
}
