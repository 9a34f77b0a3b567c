package cook

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestADishTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("POST", "/events",
			strings.NewReader(`{"specversion":"1.0","id":"e1","source":"/x","type":"order.placed","subject":"7","data":{"dish":"soup","within":"10s"}}`)))
		var data Ready
		ready := event{Data: &data}
		if err := json.Unmarshal(w.Body.Bytes(), &ready); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/cloudevents+json" {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		took := time.Since(began)
		if ready.Type != "order.ready" || ready.Subject != "7" || ready.ID != "e1.ready" || data.Dish != "soup" || !data.At.Equal(time.Now()) || took != Takes("7", 10*time.Second) {
			t.Errorf("%+v after %s, expected after %s", ready, took, Takes("7", 10*time.Second))
		}
	})
}

func TestTimesAreSpread(t *testing.T) {
	const n, parts = 10_000, 10
	var counts [parts]int
	for i := range n {
		took := Takes(fmt.Sprint("order-", i), time.Second)
		if took != Takes(fmt.Sprint("order-", i), time.Second) {
			t.Fatal("the same order takes different times")
		}
		counts[took*parts/time.Second]++ // a second would be out of range
	}
	for i, count := range counts {
		if count < n/parts*8/10 || count > n/parts*12/10 {
			t.Errorf("%d of %d take part %d of the time", count, n, i)
		}
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	for body, status := range map[string]int{
		`{"id":"1","subject":"7","type":"order.placed","data":{"within":"21s"}}`:  422,
		`{"id":"1","subject":"7","type":"order.placed","data":{"within":"soon"}}`: 422,
		`{"id":"1","subject":"7","type":"order.ready","data":{"within":"1s"}}`:    400,
		`{"id":"1","type":"order.placed","data":{"within":"1s"}}`:                 400,
		`soup`: 400,
	} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("POST", "/events", strings.NewReader(body)))
		if w.Code != status {
			t.Errorf("%s: %d, want %d", body, w.Code, status)
		}
	}
}
