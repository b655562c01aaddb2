select token, writer from demo.late_write order by token
