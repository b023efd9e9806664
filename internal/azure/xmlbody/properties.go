package xmlbody

import (
	"strconv"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/xmltext"
)

// ServiceProperties are the settings of an account's Blob service.
type ServiceProperties struct {
	Logging               Logging
	HourMetrics           Metrics
	MinuteMetrics         Metrics
	Cors                  []CorsRule
	DefaultServiceVersion string // of requests that name none; empty when never set
	DeleteRetention       DeleteRetention
	StaticWebsite         StaticWebsite
}

// Logging says which requests are logged.
type Logging struct {
	Version             string
	Delete, Read, Write bool
	Retention           Retention
}

// Metrics says which requests are counted.
type Metrics struct {
	Version     string
	Enabled     bool
	IncludeAPIs bool // sent only when Enabled
	Retention   Retention
}

// Retention says for how many days something is kept. Days is 1 to 365 when Enabled, else 0.
type Retention struct {
	Enabled bool
	Days    int
}

// CorsRule allows browsers to reach the service from other origins. Lists are separated by commas, as on the wire.
type CorsRule struct {
	AllowedOrigins, AllowedMethods string
	MaxAgeInSeconds                int
	ExposedHeaders, AllowedHeaders string
}

// DeleteRetention says for how long deleted blobs can be brought back.
type DeleteRetention struct {
	Retention
	AllowPermanentDelete bool
}

// StaticWebsite says whether a container is served as a web site.
type StaticWebsite struct {
	Enabled                                                       bool
	IndexDocument, DefaultIndexDocumentPath, ErrorDocument404Path string
}

// ServicePropertiesUpdate is the body of Set Blob Service Properties. What is nil was not in it and stays as it is.
type ServicePropertiesUpdate struct {
	Logging               *Logging
	HourMetrics           *Metrics
	MinuteMetrics         *Metrics
	Cors                  *[]CorsRule
	DefaultServiceVersion *string
	DeleteRetention       *DeleteRetention
	StaticWebsite         *StaticWebsite
}

// DefaultServiceProperties returns the settings of a new account: everything off.
func DefaultServiceProperties() ServiceProperties {
	return ServiceProperties{
		Logging:       Logging{Version: "1.0"},
		HourMetrics:   Metrics{Version: "1.0"},
		MinuteMetrics: Metrics{Version: "1.0"},
	}
}

// Apply changes p to what the update asks for.
func (u *ServicePropertiesUpdate) Apply(p *ServiceProperties) {
	set(&p.Logging, u.Logging)
	set(&p.HourMetrics, u.HourMetrics)
	set(&p.MinuteMetrics, u.MinuteMetrics)
	set(&p.Cors, u.Cors)
	set(&p.DefaultServiceVersion, u.DefaultServiceVersion)
	set(&p.DeleteRetention, u.DeleteRetention)
	set(&p.StaticWebsite, u.StaticWebsite)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// CheckSupported returns UnsupportedXmlNode when the update switches on something that nobody carries out: logs,
// metrics, the web site. To store such a setting and answer success would promise, for one, that requests are counted.
func (u *ServicePropertiesUpdate) CheckSupported() error {
	switch {
	case u.Logging != nil && (u.Logging.Delete || u.Logging.Read || u.Logging.Write):
		return badNode(azerr.UnsupportedXmlNode, "Logging", "true")
	case u.HourMetrics != nil && u.HourMetrics.Enabled:
		return badNode(azerr.UnsupportedXmlNode, "HourMetrics", "true")
	case u.MinuteMetrics != nil && u.MinuteMetrics.Enabled:
		return badNode(azerr.UnsupportedXmlNode, "MinuteMetrics", "true")
	case u.StaticWebsite != nil && u.StaticWebsite.Enabled:
		return badNode(azerr.UnsupportedXmlNode, "StaticWebsite", "true")
	}
	return nil
}

func badNode(c azerr.Code, name, value string) error {
	return c.With("XmlNodeName", name, "XmlNodeValue", value)
}

// AppendServiceProperties appends the body of Get Blob Service Properties. ParseServiceProperties reads it back.
func AppendServiceProperties(dst []byte, p *ServiceProperties) []byte {
	dst = append(dst, prolog+"<StorageServiceProperties><Logging>"...)
	dst = xmltext.AppendElement(dst, "Version", p.Logging.Version)
	dst = appendBool(dst, "Delete", p.Logging.Delete)
	dst = appendBool(dst, "Read", p.Logging.Read)
	dst = appendBool(dst, "Write", p.Logging.Write)
	dst = appendRetention(dst, p.Logging.Retention)
	dst = append(dst, "</Logging>"...)
	dst = appendMetrics(dst, "HourMetrics", p.HourMetrics)
	dst = appendMetrics(dst, "MinuteMetrics", p.MinuteMetrics)
	dst = appendCors(dst, p.Cors)
	if p.DefaultServiceVersion != "" {
		dst = xmltext.AppendElement(dst, "DefaultServiceVersion", p.DefaultServiceVersion)
	}
	dst = append(dst, "<DeleteRetentionPolicy>"...)
	dst = appendEnabledDays(dst, p.DeleteRetention.Retention)
	if p.DeleteRetention.AllowPermanentDelete {
		dst = appendBool(dst, "AllowPermanentDelete", true)
	}
	dst = append(dst, "</DeleteRetentionPolicy>"...)
	dst = appendWebsite(dst, p.StaticWebsite)
	return append(dst, "</StorageServiceProperties>"...)
}

func appendMetrics(dst []byte, element string, m Metrics) []byte {
	dst = append(dst, '<')
	dst = append(dst, element...)
	dst = append(dst, '>')
	dst = xmltext.AppendElement(dst, "Version", m.Version)
	dst = appendBool(dst, "Enabled", m.Enabled)
	if m.Enabled {
		dst = appendBool(dst, "IncludeAPIs", m.IncludeAPIs)
	}
	dst = appendRetention(dst, m.Retention)
	return appendEnd(dst, element)
}

func appendRetention(dst []byte, r Retention) []byte {
	dst = append(dst, "<RetentionPolicy>"...)
	dst = appendEnabledDays(dst, r)
	return append(dst, "</RetentionPolicy>"...)
}

func appendEnabledDays(dst []byte, r Retention) []byte {
	dst = appendBool(dst, "Enabled", r.Enabled)
	if r.Enabled {
		dst = appendInt(dst, "Days", int64(r.Days))
	}
	return dst
}

func appendCors(dst []byte, rules []CorsRule) []byte {
	if len(rules) == 0 {
		return append(dst, "<Cors />"...)
	}
	dst = append(dst, "<Cors>"...)
	for i := range rules {
		r := &rules[i]
		dst = append(dst, "<CorsRule>"...)
		dst = xmltext.AppendElement(dst, "AllowedOrigins", r.AllowedOrigins)
		dst = xmltext.AppendElement(dst, "AllowedMethods", r.AllowedMethods)
		dst = xmltext.AppendElement(dst, "MaxAgeInSeconds", strconv.Itoa(r.MaxAgeInSeconds))
		dst = xmltext.AppendElement(dst, "ExposedHeaders", r.ExposedHeaders)
		dst = xmltext.AppendElement(dst, "AllowedHeaders", r.AllowedHeaders)
		dst = append(dst, "</CorsRule>"...)
	}
	return append(dst, "</Cors>"...)
}

func appendWebsite(dst []byte, w StaticWebsite) []byte {
	dst = append(dst, "<StaticWebsite>"...)
	dst = appendBool(dst, "Enabled", w.Enabled)
	for _, e := range [...]struct{ name, value string }{
		{"IndexDocument", w.IndexDocument},
		{"DefaultIndexDocumentPath", w.DefaultIndexDocumentPath},
		{"ErrorDocument404Path", w.ErrorDocument404Path},
	} {
		if e.value != "" {
			dst = xmltext.AppendElement(dst, e.name, e.value)
		}
	}
	return append(dst, "</StaticWebsite>"...)
}
