"""What SNMP says of the product itself: numbers that the alert service has from configd anyway, and the program by which snmpd
asks for them. snmpd learns nothing else, and gets no way to configd."""
