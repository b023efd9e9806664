package xmlbody

import (
	"strconv"
	"strings"
	"time"

	"pagevault/internal/azure/azerr"
)

const (
	maxCorsRules   = 5       // the service's limit
	maxCorsEntries = 64      // the service's limit on origins and on headers of a rule
	maxCorsLength  = 256     // the service's limit on one of them, in characters
	maxCorsBytes   = 2 << 10 // the service's limit on the text of all rules
	maxDays        = 365     // the service's limit on retention
)

// ParseServiceProperties reads the body of Set Blob Service Properties, elements in any order. Errors are
// InvalidXmlDocument, InvalidXmlNodeValue, MissingRequiredXmlNode, UnsupportedXmlNode for elements it does not know,
// and RequestBodyTooLarge. Whether we do what the settings say is for CheckSupported.
func ParseServiceProperties(body []byte) (ServicePropertiesUpdate, error) {
	root, err := parseTree(body, "StorageServiceProperties")
	if err != nil {
		return ServicePropertiesUpdate{}, err
	}
	var u ServicePropertiesUpdate
	f := fieldsOf(root)
	parsePart(f, "Logging", &u.Logging, parseLogging)
	parsePart(f, "HourMetrics", &u.HourMetrics, parseMetrics)
	parsePart(f, "MinuteMetrics", &u.MinuteMetrics, parseMetrics)
	parsePart(f, "Cors", &u.Cors, parseCors)
	parsePart(f, "DeleteRetentionPolicy", &u.DeleteRetention, parseDeleteRetention)
	parsePart(f, "StaticWebsite", &u.StaticWebsite, parseWebsite)
	if v, ok := f.leaf("DefaultServiceVersion"); ok {
		if _, err := time.Parse(time.DateOnly, v); v != "" && (err != nil || v < "2009-09-19") {
			f.fail(badNode(azerr.InvalidXmlNodeValue, "DefaultServiceVersion", v))
		}
		u.DefaultServiceVersion = &v
	}
	if err := f.done(); err != nil {
		return ServicePropertiesUpdate{}, err
	}
	return u, nil
}

// parsePart reads a child, if it is there, into a new value.
func parsePart[T any](f *fields, name string, to **T, parse func(*fields) T) {
	n := f.get(name)
	if n == nil {
		return
	}
	sub := fieldsOf(n)
	v := parse(sub)
	if err := sub.done(); err != nil {
		f.fail(err)
	}
	*to = &v
}

func parseLogging(f *fields) Logging {
	return Logging{
		Version:   f.needVersion("1.0", "2.0"),
		Delete:    f.needBool("Delete"),
		Read:      f.needBool("Read"),
		Write:     f.needBool("Write"),
		Retention: f.retention(),
	}
}

func parseMetrics(f *fields) Metrics {
	m := Metrics{Version: f.needVersion("1.0"), Enabled: f.needBool("Enabled"), Retention: f.retention()}
	if text, ok := f.leaf("IncludeAPIs"); ok {
		m.IncludeAPIs = f.bool("IncludeAPIs", text)
	}
	return m
}

func (f *fields) needVersion(known ...string) string {
	v := f.need("Version")
	for _, k := range known {
		if v == k {
			return v
		}
	}
	f.fail(badNode(azerr.InvalidXmlNodeValue, "Version", v))
	return v
}

// retention reads RetentionPolicy. Without one nothing is kept.
func (f *fields) retention() Retention {
	var r *Retention
	parsePart(f, "RetentionPolicy", &r, enabledDays)
	if r == nil {
		return Retention{}
	}
	return *r
}

// enabledDays reads Enabled and Days. Days that are missing or out of range are InvalidXmlDocument, as the service has
// it; they mean nothing, and are dropped, while it is not enabled.
func enabledDays(f *fields) Retention {
	r := Retention{Enabled: f.needBool("Enabled")}
	text, ok := f.leaf("Days")
	if !r.Enabled {
		return r
	}
	days, err := strconv.Atoi(text)
	if !ok || err != nil || days < 1 || days > maxDays {
		f.fail(badNode(azerr.InvalidXmlDocument, "Days", text))
		return r
	}
	r.Days = days
	return r
}

func parseDeleteRetention(f *fields) DeleteRetention {
	d := DeleteRetention{Retention: enabledDays(f)}
	if text, ok := f.leaf("AllowPermanentDelete"); ok {
		d.AllowPermanentDelete = f.bool("AllowPermanentDelete", text)
	}
	return d
}

func parseWebsite(f *fields) StaticWebsite {
	w := StaticWebsite{Enabled: f.needBool("Enabled")}
	w.IndexDocument, _ = f.leaf("IndexDocument")
	w.DefaultIndexDocumentPath, _ = f.leaf("DefaultIndexDocumentPath")
	w.ErrorDocument404Path, _ = f.leaf("ErrorDocument404Path")
	if w.IndexDocument != "" && w.DefaultIndexDocumentPath != "" {
		f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", "DefaultIndexDocumentPath", "Reason", "not together with IndexDocument"))
	}
	return w
}

func parseCors(f *fields) []CorsRule {
	f.used["CorsRule"] = true
	rules, size := make([]CorsRule, 0, len(f.of.kids)), 0
	for _, k := range f.of.kids {
		if k.name != "CorsRule" {
			continue
		}
		if len(rules) == maxCorsRules {
			f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", "CorsRule", "Reason", "at most five rules"))
			return rules
		}
		sub := fieldsOf(k)
		rules = append(rules, parseCorsRule(sub))
		if err := sub.done(); err != nil {
			f.fail(err)
		}
		for _, leaf := range k.kids {
			size += len(leaf.text)
		}
	}
	if size > maxCorsBytes {
		f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", "Cors", "Reason", "at most 2,048 bytes of rules"))
	}
	return rules
}

func parseCorsRule(f *fields) CorsRule {
	r := CorsRule{
		AllowedOrigins: f.need("AllowedOrigins"),
		AllowedMethods: f.need("AllowedMethods"),
	}
	r.ExposedHeaders, _ = f.leaf("ExposedHeaders")
	r.AllowedHeaders, _ = f.leaf("AllowedHeaders")
	age := f.need("MaxAgeInSeconds")
	n, err := strconv.ParseInt(age, 10, 32)
	if err != nil || n < 0 {
		f.fail(badNode(azerr.InvalidXmlNodeValue, "MaxAgeInSeconds", age))
	}
	r.MaxAgeInSeconds = int(n)
	f.corsList("AllowedOrigins", r.AllowedOrigins, true)
	f.corsList("ExposedHeaders", r.ExposedHeaders, false)
	f.corsList("AllowedHeaders", r.AllowedHeaders, false)
	for _, m := range strings.Split(r.AllowedMethods, ",") {
		switch strings.TrimSpace(m) {
		case "DELETE", "GET", "HEAD", "MERGE", "POST", "OPTIONS", "PUT", "PATCH":
		default:
			f.fail(badNode(azerr.InvalidXmlNodeValue, "AllowedMethods", r.AllowedMethods))
		}
	}
	return r
}

// corsList checks the limits on a list separated by commas, whose entries become headers.
func (f *fields) corsList(name, list string, required bool) {
	entries := strings.Split(list, ",")
	bad := len(entries) > maxCorsEntries || required && list == ""
	for _, e := range entries {
		bad = bad || len(e) > maxCorsLength || strings.ContainsFunc(e, func(c rune) bool { return c < ' ' || c > '~' })
	}
	if bad {
		f.fail(badNode(azerr.InvalidXmlNodeValue, name, list))
	}
}
