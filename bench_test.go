package tandem_test

import (
	"testing"

	"github.com/tandem-hybrid/tandem"
)

var benchEvent = []byte(`{"specversion":"1.0","id":"018f6e3c-7c1a-7bbd-9d4b-6d0a4f3c2b1a","source":"/shop/orders","type":"order.placed","subject":"order-4711","time":"2026-11-21T04:00:00Z","datacontenttype":"application/json","data":{"customer":"17850","total":20.34,"lines":3}}`)

func BenchmarkParseEventJSON(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchEvent)))
	for b.Loop() {
		if _, err := tandem.ParseEventJSON(benchEvent); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEventJSONExtended(b *testing.B) {
	in := []byte(`{"specversion":"1.0","id":"018f6e3c","source":"/shop/orders","type":"order.placed","tandemflow":"018f6e3c-7c1a-7bbd-9d4b-6d0a4f3c2b1a","tandemcause":"AAAAAAAAAAAAAAAAAAAAAA","tandemhops":2,"tenant":"a","priority":3,"data":{"customer":"17850"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tandem.ParseEventJSON(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEventJSON(b *testing.B) {
	e, err := tandem.ParseEventJSON(benchEvent)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchEvent)))
	for b.Loop() {
		buf = tandem.AppendEventJSON(buf[:0], &e)
	}
}

func BenchmarkCheckEvent(b *testing.B) {
	e, err := tandem.ParseEventJSON(benchEvent)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tandem.CheckEvent(&e); err != nil {
			b.Fatal(err)
		}
	}
}
