package invoices

import (
	"os"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
)

const heading = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

func TestInvoiceRules(t *testing.T) {
	list, err := Read(strings.NewReader(heading+
		"1,22423,CAKE STAND,2,12/1/10 8:26,2.55,17850,United Kingdom\n"+
		"1,22423,CAKE STAND,3,12/1/10 8:26,2.55,17850,United Kingdom\n"+ // added up
		"1,22423,CAKE STAND,1,12/1/10 8:26,2.1,17850,United Kingdom\n"+ // another price stays apart
		"C2,D,Discount,-1,12/1/10 9:41,27.5,14527,United Kingdom\n"+
		"3,22139,,56,12/1/10 11:52,0,,United Kingdom\n"+
		"1,POST,\"POSTAGE, FIRST CLASS\",1,12/1/10 8:26,18,17850,France\n"), "test") // further down
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Fatalf("%d invoices", len(list))
	}
	one, two, three := list[0], list[1], list[2]
	if len(one.Lines) != 3 || one.Lines[0] != (Line{"22423", "CAKE STAND", 5, 255}) || one.Lines[1].UnitPricePence != 210 ||
		one.Lines[2].Description != "POSTAGE, FIRST CLASS" || one.Total() != 5*255+210+1800 || one.Return {
		t.Errorf("invoice 1: %+v", one)
	}
	if !two.Return || two.Lines[0].Quantity != 1 || two.Total() != 2750 {
		t.Errorf("the credit note: %+v", two)
	}
	if three.Customer != Guest || three.Total() != 0 || three.Lines[0].Quantity != 56 {
		t.Errorf("the invoice without customer and price: %+v", three)
	}
}

func TestBadInvoicesAreNamed(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"empty":         {"", "first line"},
		"no invoices":   {heading, "no invoices"},
		"other columns": {"a,b\n1,2\n", "first line"},
		"too few":       {heading + "1,2,3\n", "wrong number of fields"},
		"quantity":      {heading + "1,22423,x,2,d,1,1,UK\n1,22424,x,two,d,1,1,UK\n", "line 3: quantity"},
		"zero":          {heading + "1,22423,x,0,d,1,1,UK\n", "line 2: quantity"},
		"gives back":    {heading + "1,22423,x,-1,d,1,1,UK\n", "begin with C"},
		"C sells":       {heading + "C1,22423,x,1,d,1,1,UK\n", "begin with C"},
		"price":         {heading + "1,22423,x,1,d,-1,1,UK\n", "price"},
		"fraction":      {heading + "1,22423,x,1,d,0.125,1,UK\n", "price"},
		"two customers": {heading + "1,22423,x,1,d,1,1,UK\n1,22424,x,1,d,1,2,UK\n", "customer"},
		"no code":       {heading + "1,,x,1,d,1,1,UK\n", "StockCode"},
	} {
		_, err := Read(strings.NewReader(tt.file), "test")
		if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// The sample has one of each case that the README names.
func TestTheSampleHasEveryCase(t *testing.T) {
	list, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	var returns, guests, postage, onlyMoney int
	for _, v := range list {
		stock := 0
		for _, l := range v.Lines {
			if inventory.IsStock(l.Code) {
				stock++
			} else if !v.Return {
				postage++
			}
		}
		if stock == 0 {
			onlyMoney++
		}
		if v.Return {
			returns++
		}
		if v.Customer == Guest {
			guests++
		}
	}
	if len(list) != 40 || returns != 4 || guests != 1 || postage != 2 || onlyMoney != 1 {
		t.Errorf("%d invoices, %d returns, %d guests, %d with postage, %d with money only", len(list), returns, guests, postage, onlyMoney)
	}
}

func FuzzInvoices(f *testing.F) {
	f.Add(heading + "1,22423,x,1,d,1.25,1,UK\n")
	f.Add(heading + "C1,D,\"a \"\"b\"\"\",-1,d,0,,UK\n")
	f.Fuzz(func(t *testing.T, file string) {
		list, err := Read(strings.NewReader(file), "fuzz")
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Errorf("%v", err)
			}
			return
		}
		for _, v := range list {
			if v.Customer == "" || len(v.Lines) == 0 || v.Total() < 0 {
				t.Errorf("%+v", v)
			}
		}
	})
}

// orders.csv beside the project is the file that the sample was cut from; it is read where TANDEM_ORDERS names it.
func TestTheWholeFile(t *testing.T) {
	path := os.Getenv("TANDEM_ORDERS")
	if path == "" {
		t.Skip("TANDEM_ORDERS names no file")
	}
	list, err := Load(path)
	if err != nil || len(list) != 66 {
		t.Errorf("%d invoices, %v", len(list), err)
	}
}
