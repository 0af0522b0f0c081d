# PostgreSQL, which makes its database when the volume has none: elsewhere first,
# because the many small writes of initdb take their time in a volume of a VM.
set -e
export PATH=$PATH:/usr/lib/postgresql/15/bin
data=/var/lib/postgresql/data
if [ ! -d $data ]; then
	rm -rf /tmp/new $data.new
	initdb -D /tmp/new -U shop --pwfile=/run/secrets/db_password --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --no-sync
	echo "host all all samenet scram-sha-256" >>/tmp/new/pg_hba.conf
	cp -a /tmp/new $data.new
	sync -f $data.new
	mv $data.new $data
	rm -r /tmp/new
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp
