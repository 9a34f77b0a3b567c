package api

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestDocumentHasEveryMember compares the schemas of the document with the types that are written and read.
func TestDocumentHasEveryMember(t *testing.T) {
	d := loadDocument(t)
	for name, v := range map[string]any{
		"Topic": topicDocument{}, "TopicStatus": topicStatus{}, "Receipt": tandem.Receipt{}, "Problem": problemWithLine{},
		"Subscription": subscriptionDocument{}, "SubscriptionStatus": tandem.SubscriptionStatus{}, "TargetAuth": tandem.TargetAuth{},
		"Seek": seekDocument{}, "SeekPlan": tandem.SeekPlan{}, "DeadLetterChoice": selectionDocument{}, "DeadLetterCount": tandem.DeadLetterCount{}, "Replay": replayDocument{}, "TestExchange": tandem.TestExchange{}, "TestMessage": tandem.TestMessage{},
		"Pull": tandem.PullRequest{}, "Lease": wholeLease{}, "DeliveryPage": tandem.DeliveryPage{}, "Delivery": tandem.Delivery{}, "Attempt": tandem.Attempt{},
		"DeadLetter": tandem.DeadLetter{}, "Operation": tandem.Operation{}, "Status": status{}, "Configuration": Configuration{},
		"Flow": tandem.Flow{}, "FlowNode": tandem.FlowNode{}, "FlowEvent": tandem.FlowEvent{}, "FlowPage": tandem.FlowPage{}, "FlowSummary": tandem.FlowSummary{},
		"Explanation": tandem.Explanation{}, "Reason": tandem.Reason{}, "FilterClause": tandem.FilterClause{},
		"StreamPresence": tandem.StreamPresence{}, "StreamInfo": tandem.StreamInfo{},
	} {
		compare(t, d, name, d.at("components", "schemas", name), reflect.TypeOf(v))
	}
}

type problemWithLine struct {
	tandem.Problem
	Line int `json:"line"`
}

type wholeLease struct {
	leaseHead
	Event tandem.Event `json:"event"`
}

// compare compares a schema with a type, and the schemas of members that are objects without a name with theirs.
func compare(t *testing.T, d document, at string, schema any, typ reflect.Type) {
	t.Helper()
	properties, _ := schema.(map[string]any)["properties"].(map[string]any)
	have := members(typ)
	if want := slices.Sorted(maps.Keys(have)); !slices.Equal(slices.Sorted(maps.Keys(properties)), want) {
		t.Errorf("%s has the members %v, the type %v", at, slices.Sorted(maps.Keys(properties)), want)
	}
	for name, below := range have {
		p, _ := properties[name].(map[string]any)
		if items, ok := p["items"].(map[string]any); ok {
			p = items
		}
		for below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice {
			below = below.Elem()
		}
		if p["properties"] != nil && below.Kind() == reflect.Struct {
			compare(t, d, at+"/"+name, p, below)
		}
	}
}

// members returns the JSON members of a struct and their types.
func members(typ reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			maps.Copy(all, members(f.Type))
		case name != "" && name != "-":
			all[name] = f.Type
		}
	}
	return all
}
