package xmlbody

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmltext"
)

// AppendTags appends the body of Get Blob Tags. ParseTags reads it back.
func AppendTags(dst []byte, tags []header.Pair) []byte {
	return appendTags(append(dst, prolog...), tags)
}

func appendTags(dst []byte, tags []header.Pair) []byte {
	dst = append(dst, "<Tags><TagSet>"...)
	for _, t := range tags {
		dst = append(dst, "<Tag>"...)
		dst = xmltext.AppendElement(dst, "Key", t.Name)
		dst = xmltext.AppendElement(dst, "Value", t.Value)
		dst = append(dst, "</Tag>"...)
	}
	return append(dst, "</TagSet></Tags>"...)
}

// ParseTags reads the body of Set Blob Tags. Errors are those of XML documents, and of header.CheckTags.
func ParseTags(body []byte) ([]header.Pair, error) {
	root, err := parseTree(body, "Tags")
	if err != nil {
		return nil, err
	}
	f := fieldsOf(root)
	set := f.get("TagSet")
	if set == nil {
		f.fail(azerr.MissingRequiredXmlNode.With("XmlNodeName", "TagSet"))
	}
	if err := f.done(); err != nil {
		return nil, err
	}
	if set.text != "" {
		return nil, azerr.InvalidXmlDocument.With("XmlNodeName", "TagSet", "XmlNodeValue", set.text)
	}
	var tags []header.Pair
	for _, k := range set.kids {
		if k.name != "Tag" {
			return nil, badNode(azerr.UnsupportedXmlNode, k.name, k.text)
		}
		t, err := parseTag(fieldsOf(k))
		if err != nil {
			return nil, err
		}
		tags = append(tags, t)
	}
	return tags, header.CheckTags(tags)
}

// parseTag reads one tag. White space counts: it may be part of a key or a value.
func parseTag(f *fields) (header.Pair, error) {
	f.need("Key")
	f.need("Value")
	if err := f.done(); err != nil {
		return header.Pair{}, err
	}
	return header.Pair{Name: f.get("Key").raw, Value: f.get("Value").raw}, nil
}

// FoundBlob is one blob of the answer to Find Blobs by Tags.
type FoundBlob struct {
	Name, Container string
	Tags            []header.Pair // those that were asked about
}

// BeginFound begins the body of Find Blobs by Tags. The blobs follow, then EndFound.
func BeginFound(dst []byte, endpoint, where string) []byte {
	dst = append(dst, prolog+`<EnumerationResults ServiceEndpoint="`...)
	dst = xmltext.AppendAttr(dst, endpoint)
	dst = append(dst, `">`...)
	dst = appendName(dst, "Where", where)
	return append(dst, "<Blobs>"...)
}

// AppendFound appends one blob. valueOnly is for versions that told the value of one tag and nothing else of it.
func AppendFound(dst []byte, b *FoundBlob, valueOnly bool) []byte {
	dst = append(dst, "<Blob>"...)
	dst = appendName(dst, "Name", b.Name)
	dst = xmltext.AppendElement(dst, "ContainerName", b.Container)
	switch {
	case !valueOnly:
		dst = appendTags(dst, b.Tags)
	case len(b.Tags) > 0:
		dst = xmltext.AppendElement(dst, "TagValue", b.Tags[0].Value)
	}
	return append(dst, "</Blob>"...)
}

// EndFound ends the body. next is the marker of the page that follows, empty at the end.
func EndFound(dst []byte, next string) []byte {
	return endList(append(dst, "</Blobs>"...), next)
}
