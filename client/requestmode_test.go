package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// TestRequest reads the answers of a topic with request links, and of one without.
func TestRequest(t *testing.T) {
	const replies = `[{"specversion":"1.0","id":"r1","source":"/p","type":"paid"}]`
	receipt := `{"id":"1","topic":"orders","partition":2,"offset":7,"cursor":"c","duplicate":false}`
	problem := `{"type":"urn:tandem:problem/request-link","title":"t","status":504,"detail":"late","link":"pay","outcome":"timeout","done":["a"]}`
	var status int
	var media, body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", media)
		if status == 200 {
			h.Set(tandem.HeaderPosition, "orders/2/7")
			h.Set(tandem.HeaderCursor, "c")
			h.Set(tandem.HeaderID, "given")
			h.Set(tandem.HeaderDuplicate, "true")
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := tandem.Event{Source: "/s", Type: "t"}

	status, media, body = 200, tandem.MediaBatch, replies
	r, got, err := c.Request(t.Context(), "orders", e)
	want := tandem.Receipt{ID: "given", Topic: "orders", Partition: 2, Offset: 7, Cursor: "c", Duplicate: tandem.DuplicateYes}
	if err != nil || r != want || len(got) != 1 || got[0].Type != "paid" {
		t.Errorf("%+v %+v %v", r, got, err)
	}
	body = "[]"
	if _, got, err = c.Request(t.Context(), "orders", e); err != nil || got == nil {
		t.Errorf("without replies: %v %v", got, err)
	}
	if all, err := c.Publish(t.Context(), "orders", e); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("publish: %+v %v", all, err)
	}
	if one, err := c.PublishJSON(t.Context(), "orders", []byte("1"), nil); err != nil || one != want {
		t.Errorf("publish JSON: %+v %v", one, err)
	}

	status, media, body = 201, "application/json", receipt
	if r, got, err = c.Request(t.Context(), "orders", e); err != nil || got != nil || r.Offset != 7 {
		t.Errorf("without links: %+v %v %v", r, got, err)
	}

	status, body = 207, "["+receipt+","+receipt[:len(receipt)-1]+`,"replies":`+replies+"}]"
	if all, err := c.Publish(t.Context(), "orders", e, e); err != nil || len(all) != 2 || all[1].Offset != 7 {
		t.Errorf("batch: %+v %v", all, err)
	}
	body = "[" + receipt + "," + problem + "]"
	_, err = c.Publish(t.Context(), "orders", e, e)
	var te *tandem.Error
	if !errors.As(err, &te) || te.Code != tandem.CodeRequestLink || te.Link == nil || te.Link.Outcome != tandem.LinkTimeout {
		t.Errorf("batch with a failure: %v", err)
	}
	status, media, body = 504, tandem.MediaProblem, problem
	if _, _, err = c.Request(t.Context(), "orders", e); !errors.As(err, &te) || te.Link == nil || te.Link.Link != "pay" || len(te.Link.Done) != 1 {
		t.Errorf("failure: %v", err)
	}
}
