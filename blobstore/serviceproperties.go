package blobstore

import (
	"pagevault/internal/azure/xmlbody"
	"pagevault/pagestore"
)

// The row of the service properties: version (1) · the XML that Get Blob Service Properties answers. There is none until
// they are set for the first time.

// ServiceProperties returns the settings of the account's blob service.
func (a *Account) ServiceProperties() (p xmlbody.ServiceProperties, err error) {
	err = a.view(func(v *pagestore.View) error {
		p, err = findServiceProperties(v)
		return err
	})
	return p, err
}

// SetServiceProperties changes those settings that the update names. One that asks for what nobody here carries out is
// refused (UnsupportedXmlNode).
func (a *Account) SetServiceProperties(u *xmlbody.ServicePropertiesUpdate) error {
	if err := u.CheckSupported(); err != nil {
		return err
	}
	return a.update(func(tx *pagestore.Tx) error {
		p, err := findServiceProperties(tx)
		if err != nil {
			return err
		}
		if err := a.store.CheckMetadata(); err != nil {
			return err
		}
		u.Apply(&p)
		tx.Set(propertiesKey, xmlbody.AppendServiceProperties([]byte{rowVersion}, &p))
		return nil
	})
}

func findServiceProperties(from rows) (xmlbody.ServiceProperties, error) {
	p := xmlbody.DefaultServiceProperties()
	row, ok, err := from.Get(propertiesKey)
	if err != nil || !ok {
		return p, err
	}
	if len(row) == 0 || row[0] != rowVersion {
		return p, badRow("service properties", row)
	}
	stored, err := xmlbody.ParseServiceProperties(row[1:])
	if err != nil {
		return p, badRow("service properties", row)
	}
	stored.Apply(&p)
	return p, nil
}
