package xmlbody

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

// fullProperties has everything switched on.
func fullProperties() *ServiceProperties {
	return &ServiceProperties{
		Logging:       Logging{"2.0", true, false, true, Retention{true, 365}},
		HourMetrics:   Metrics{"1.0", true, true, Retention{true, 7}},
		MinuteMetrics: Metrics{"1.0", false, false, Retention{}},
		Cors: []CorsRule{
			{"http://a.example,*", "GET,PUT", 60, "x-ms-*", "x-ms-meta-*,<&>"},
			{"*", "OPTIONS", 0, "", ""},
		},
		DefaultServiceVersion: "2021-12-02",
		DeleteRetention:       DeleteRetention{Retention{true, 1}, true},
		StaticWebsite:         StaticWebsite{true, "index.html", "", "404.html"},
	}
}

// TestPropertiesRoundTrip reads back what was written.
func TestPropertiesRoundTrip(t *testing.T) {
	defaults := DefaultServiceProperties()
	for _, p := range []*ServiceProperties{&defaults, fullProperties()} {
		u, err := ParseServiceProperties(AppendServiceProperties(nil, p))
		if err != nil {
			t.Fatal(err)
		}
		got := ServiceProperties{DefaultServiceVersion: "2009-09-19", Cors: []CorsRule{{}}}
		u.Apply(&got)
		if len(p.Cors) == 0 {
			got.Cors, got.DefaultServiceVersion = p.Cors, p.DefaultServiceVersion // an empty list, and a version that is left out
		}
		if !reflect.DeepEqual(got, *p) {
			t.Errorf("got %+v, want %+v", got, *p)
		}
	}
}

const (
	retention = "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>"
	logging   = "<Version>1.0</Version><Delete>false</Delete><Read>false</Read><Write>false</Write>"
	metrics   = "<Version>1.0</Version><Enabled>false</Enabled>"
	rule      = "<AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods><MaxAgeInSeconds>5</MaxAgeInSeconds>"
)

func TestParseServiceProperties(t *testing.T) {
	f := func(want azerr.Code, part, inner string) {
		t.Helper()
		u, err := ParseServiceProperties([]byte("<StorageServiceProperties>" + inner + "</StorageServiceProperties>"))
		if want == 0 && err != nil || want != 0 && (!errors.Is(err, want) || !strings.Contains(err.Error(), part)) {
			t.Errorf("%s: got %v, want %v %s", inner, err, want, part)
		}
		if err != nil && !reflect.DeepEqual(u, ServicePropertiesUpdate{}) {
			t.Errorf("%s: an update beside an error", inner)
		}
	}
	const document, value, missing, unknown = azerr.InvalidXmlDocument, azerr.InvalidXmlNodeValue, azerr.MissingRequiredXmlNode, azerr.UnsupportedXmlNode
	// Nothing, in any order, with white space and comments.
	f(0, "", "")
	f(0, "", " <!-- c --> <Cors />\n<Logging>"+retention+logging+"</Logging><HourMetrics>"+metrics+retention+"</HourMetrics>")
	// Elements left out, twice, unknown, or text where elements belong.
	f(missing, "XmlNodeName=Write", "<Logging>"+strings.Replace(logging, "<Write>false</Write>", "", 1)+"</Logging>")
	f(missing, "XmlNodeName=Enabled", "<HourMetrics><Version>1.0</Version></HourMetrics>")
	f(document, "XmlNodeName=Cors Reason=given twice", "<Cors/><Cors/>")
	f(document, "Reason=given twice", "<HourMetrics>"+metrics+metrics+"</HourMetrics>")
	f(unknown, "XmlNodeName=Cros", "<Cros/>")
	f(unknown, "XmlNodeName=Level XmlNodeValue=9", "<Logging>"+logging+"<Level>9</Level></Logging>")
	f(unknown, "XmlNodeName=Rule", "<Cors><Rule/></Cors>")
	f(document, "Reason=text beside elements", "<Cors/>text")
	f(document, "XmlNodeValue=text", "<Cors>text</Cors>")
	f(document, "Reason=text expected", "<StaticWebsite><Enabled><x/></Enabled></StaticWebsite>")
	// Values.
	f(0, "", "<StaticWebsite><Enabled>True</Enabled></StaticWebsite>")
	f(value, "XmlNodeName=Enabled XmlNodeValue=yes", "<StaticWebsite><Enabled>yes</Enabled></StaticWebsite>")
	f(value, "XmlNodeName=Enabled XmlNodeValue=", "<StaticWebsite><Enabled/></StaticWebsite>")
	f(value, "XmlNodeName=Version XmlNodeValue=3.0", "<HourMetrics><Version>3.0</Version><Enabled>false</Enabled></HourMetrics>")
	f(document, "XmlNodeName=DefaultIndexDocumentPath", "<StaticWebsite><Enabled>true</Enabled><IndexDocument>a</IndexDocument><DefaultIndexDocumentPath>b</DefaultIndexDocumentPath></StaticWebsite>")
	// Versions.
	f(0, "", "<DefaultServiceVersion>2009-09-19</DefaultServiceVersion>")
	f(0, "", "<DefaultServiceVersion>2099-01-01</DefaultServiceVersion>")
	f(0, "", "<DefaultServiceVersion/>")
	f(value, "XmlNodeName=DefaultServiceVersion", "<DefaultServiceVersion>2009-07-17</DefaultServiceVersion>")
	f(value, "XmlNodeName=DefaultServiceVersion", "<DefaultServiceVersion>2021-02-30</DefaultServiceVersion>")
	f(value, "XmlNodeName=DefaultServiceVersion", "<DefaultServiceVersion>latest</DefaultServiceVersion>")
	// Days: 1 to 365 when enabled.
	days := func(enabled, inner string) string {
		return "<DeleteRetentionPolicy><Enabled>" + enabled + "</Enabled>" + inner + "</DeleteRetentionPolicy>"
	}
	f(0, "", days("true", "<Days>1</Days><AllowPermanentDelete>true</AllowPermanentDelete>"))
	f(0, "", days("true", "<Days>365</Days>"))
	f(0, "", days("false", ""))
	f(0, "", days("false", "<Days>0</Days>"))
	for _, inner := range []string{"", "<Days/>", "<Days>0</Days>", "<Days>-1</Days>", "<Days>366</Days>", "<Days>7.5</Days>"} {
		f(document, "XmlNodeName=Days", days("true", inner))
		f(document, "XmlNodeName=Days", "<Logging>"+logging+"<RetentionPolicy><Enabled>true</Enabled>"+inner+"</RetentionPolicy></Logging>")
	}
	f(value, "XmlNodeName=AllowPermanentDelete", days("false", "<AllowPermanentDelete>1</AllowPermanentDelete>"))
	// CORS: five rules, 64 entries, methods that exist.
	cors := func(n int, rule string) string {
		return "<Cors>" + strings.Repeat("<CorsRule>"+rule+"</CorsRule>", n) + "</Cors>"
	}
	f(0, "", cors(5, rule+"<ExposedHeaders/><AllowedHeaders>x-ms-meta-*, b</AllowedHeaders>"))
	f(document, "Reason=at most five rules", cors(6, rule))
	f(missing, "XmlNodeName=AllowedOrigins", cors(1, "<AllowedMethods>GET</AllowedMethods><MaxAgeInSeconds>5</MaxAgeInSeconds>"))
	f(missing, "XmlNodeName=MaxAgeInSeconds", cors(1, "<AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods>"))
	f(value, "XmlNodeName=AllowedOrigins", cors(1, strings.Replace(rule, "*", "", 1)))
	f(value, "XmlNodeName=AllowedOrigins", cors(1, strings.Replace(rule, "*", strings.Repeat("a,", 64)+"a", 1)))
	f(value, "XmlNodeName=AllowedOrigins", cors(1, strings.Replace(rule, "*", strings.Repeat("a", 257), 1)))
	f(value, "XmlNodeName=AllowedOrigins", cors(1, strings.Replace(rule, "*", "a\nb", 1))) // they become headers
	f(document, "Reason=at most 2,048 bytes", cors(5, strings.Replace(rule, "*", strings.Repeat(strings.Repeat("a", 110)+",", 4)+"a", 1)))
	f(value, "XmlNodeName=AllowedMethods", cors(1, strings.Replace(rule, "GET", "GET,BREW", 1)))
	f(value, "XmlNodeName=AllowedMethods", cors(1, strings.Replace(rule, "GET", "", 1)))
	f(value, "XmlNodeName=MaxAgeInSeconds", cors(1, strings.Replace(rule, "5", "-1", 1)))
	f(value, "XmlNodeName=MaxAgeInSeconds", cors(1, strings.Replace(rule, "5", "3000000000", 1)))
	f(unknown, "XmlNodeName=Extra", cors(1, rule+"<Extra/>"))
}

// TestParseDocuments is about the documents as such.
func TestParseDocuments(t *testing.T) {
	f := func(want azerr.Code, body string) {
		t.Helper()
		_, err := ParseServiceProperties([]byte(body))
		if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			t.Errorf("%.100s: got %v, want %v", body, err, want)
		}
	}
	const open, end = "<StorageServiceProperties>", "</StorageServiceProperties>"
	f(0, "<StorageServiceProperties/>")
	f(0, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"+open+"<Cors xmlns:x='y' x:a='b'/>"+end+"\n<!-- the end -->\n")
	f(azerr.InvalidXmlDocument, "")
	f(azerr.InvalidXmlDocument, "text")
	f(azerr.InvalidXmlDocument, open)
	f(azerr.InvalidXmlDocument, "<Other/>")
	f(azerr.InvalidXmlDocument, open+"</Other>")
	f(azerr.InvalidXmlDocument, open+end+open+end)
	f(azerr.InvalidXmlDocument, open+end+"trailer")
	f(azerr.InvalidXmlDocument, open+"<Cors>&unknown;</Cors>"+end)
	f(azerr.InvalidXmlDocument, open+"\xff"+end)
	f(azerr.InvalidXmlDocument, "<?xml version=\"1.0\" encoding=\"utf-16\"?>"+open+end)
	f(azerr.InvalidXmlDocument, `{"cors": []}`)
	// Entities, which would let a small document grow without end.
	f(azerr.InvalidXmlDocument, `<!DOCTYPE a [<!ENTITY e "eeee">]>`+open+end)
	f(azerr.InvalidXmlDocument, strings.Repeat("<a>", 1000)+strings.Repeat("</a>", 1000))
	f(azerr.RequestBodyTooLarge, open+strings.Repeat(" ", maxBody)+end)
	f(0, open+strings.Repeat(" ", maxBody-len(open+end))+end)

	var e *azerr.Error
	if _, err := ParseServiceProperties([]byte(open + "\n  <Cors>")); !errors.As(err, &e) || e.Details[0] != (azerr.Detail{Name: "LineNumber", Value: "2"}) {
		t.Errorf("got %v", err)
	}
}

// TestCheckSupported switches on one thing at a time.
func TestCheckSupported(t *testing.T) {
	defaults := DefaultServiceProperties()
	u, err := ParseServiceProperties(AppendServiceProperties(nil, &defaults))
	if err != nil {
		t.Fatal(err)
	}
	version := "2021-12-02"
	u.DefaultServiceVersion = &version
	if err := u.CheckSupported(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	f := func(node string, u ServicePropertiesUpdate) {
		t.Helper()
		if err := u.CheckSupported(); !errors.Is(err, azerr.UnsupportedXmlNode) || !strings.Contains(err.Error(), "XmlNodeName="+node) {
			t.Errorf("got %v, want %s", err, node)
		}
	}
	p := fullProperties()
	f("Logging", ServicePropertiesUpdate{Logging: &p.Logging})
	f("Logging", ServicePropertiesUpdate{Logging: &Logging{Delete: true}})
	f("Logging", ServicePropertiesUpdate{Logging: &Logging{Read: true}})
	f("HourMetrics", ServicePropertiesUpdate{HourMetrics: &p.HourMetrics})
	f("MinuteMetrics", ServicePropertiesUpdate{MinuteMetrics: &p.HourMetrics})
	f("StaticWebsite", ServicePropertiesUpdate{StaticWebsite: &p.StaticWebsite})
}

// FuzzParseServiceProperties checks that what is read can be written and read again, and that errors have codes.
func FuzzParseServiceProperties(f *testing.F) {
	defaults := DefaultServiceProperties()
	f.Add(AppendServiceProperties(nil, &defaults))
	f.Add(AppendServiceProperties(nil, fullProperties()))
	f.Add([]byte("<StorageServiceProperties><Cors/></StorageServiceProperties>"))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY e "e">]><StorageServiceProperties>&e;</StorageServiceProperties>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := ParseServiceProperties(body)
		if err != nil {
			if c := azerr.From(err).Code; c == azerr.InternalError || c.Status()/100 != 4 {
				t.Fatalf("got %v", err)
			}
			return
		}
		p := DefaultServiceProperties()
		u.Apply(&p)
		again, err := ParseServiceProperties(AppendServiceProperties(nil, &p))
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		q := DefaultServiceProperties()
		again.Apply(&q)
		p.HourMetrics.IncludeAPIs = p.HourMetrics.IncludeAPIs && p.HourMetrics.Enabled // not written otherwise
		p.MinuteMetrics.IncludeAPIs = p.MinuteMetrics.IncludeAPIs && p.MinuteMetrics.Enabled
		if len(p.Cors) == 0 {
			p.Cors, q.Cors = nil, nil
		}
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("wrote %+v, read %+v", p, q)
		}
	})
}
