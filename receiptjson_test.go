package tandem_test

import (
	"encoding/json"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestAppendReceiptJSON(t *testing.T) {
	for _, r := range []tandem.Receipt{
		{},
		{ID: "018f6e3c", Topic: "orders.eu", Partition: 7, Offset: 1<<64 - 1, Cursor: "AQEB_-", Duplicate: tandem.DuplicateYes},
		{ID: "u", Topic: "t", Duplicate: tandem.DuplicateUnknown},
		{ID: "a \"quote\", a \\, a line\nand €", Topic: "t"},
	} {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := tandem.AppendReceiptJSON(nil, &r); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var again tandem.Receipt
		if err := json.Unmarshal(want, &again); err != nil || again != r {
			t.Errorf("read back %+v, %v", again, err)
		}
		var back struct{ ID, Topic string }
		if err := json.Unmarshal(tandem.AppendAcceptedJSON(nil, &r), &back); err != nil || back.ID != r.ID || back.Topic != r.Topic {
			t.Errorf("accepted: %+v %v", back, err)
		}
	}
}
