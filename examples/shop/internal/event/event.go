// Package event is all that a service of the shop knows of CloudEvents: an event is a JSON object that is posted to it,
// and its answer may be a list of them. It uses nothing of Tandem's.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// Event is a CloudEvent in JSON.
type Event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        string          `json:"time,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// Order is what every event of the shop carries of the order that it is about.
type Order struct {
	ID         string `json:"id"`
	Customer   string `json:"customer"`
	Reference  string `json:"reference"` // the customer's own
	Kind       string `json:"kind"`      // Sale or Return
	TotalPence int64  `json:"totalPence"`
}

// The kinds of an order.
const (
	Sale   = "sale"
	Return = "return"
)

// Line is a line of an order.
type Line struct {
	Code           string `json:"code"`
	Description    string `json:"description,omitempty"`
	Quantity       int64  `json:"quantity"`
	UnitPricePence int64  `json:"unitPricePence"`
}

// Item is a quantity of one stock code.
type Item struct {
	Code     string `json:"code"`
	Quantity int64  `json:"quantity"`
}

// Data is the payload of all events of the shop. Beside Order, each type has the parts that the table in the README names.
type Data struct {
	Order       Order  `json:"order"`
	Lines       []Line `json:"lines,omitempty"`
	Items       []Item `json:"items,omitempty"`
	AmountPence int64  `json:"amountPence,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

// maxBytes bounds an event: the largest that Tandem takes by default.
const maxBytes = 1 << 20

// ErrUnprocessable is wrapped by the error of an event that will never make sense, however often it is delivered.
var ErrUnprocessable = errors.New("the event makes no sense here")

// Read reads the event and its payload from a delivery, or answers why not and returns false.
func Read(w http.ResponseWriter, r *http.Request) (e Event, d Data, ok bool) {
	if mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt != "application/cloudevents+json" {
		http.Error(w, "send application/cloudevents+json", http.StatusUnsupportedMediaType)
		return e, d, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return e, d, false
	}
	err = json.Unmarshal(body, &e)
	if err == nil && (e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "") {
		err = errors.New("specversion, id, source and type are required")
	}
	if err == nil {
		err = json.Unmarshal(e.Data, &d)
	}
	if err == nil && (d.Order.ID == "" || d.Order.ID != e.Subject) {
		err = errors.New("the subject is not the id of the order")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return e, d, false
	}
	return e, d, true
}

// Reply returns an event that e set off. The same cause gives the same id again.
func Reply(e Event, source, typ string, d Data) Event {
	body, _ := json.Marshal(d) // strings and integers cannot fail
	return Event{SpecVersion: "1.0", ID: e.ID + "." + typ, Source: source, Type: typ, Subject: e.Subject, Data: body}
}

// Answer writes what a handler returned: its replies as a batch, or nothing, or why it failed.
func Answer(w http.ResponseWriter, replies []Event, err error) {
	switch {
	case errors.Is(err, ErrUnprocessable):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case len(replies) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/cloudevents-batch+json")
		_ = json.NewEncoder(w).Encode(replies) // Tandem is gone: it will ask again
	}
}

// Unprocessable returns an error that wraps ErrUnprocessable.
func Unprocessable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnprocessable}, args...)...)
}
