# nginx asks the name server of its network for web at each request, so that it
# finds what was scaled or started again.
set -e
echo "resolver $(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1) valid=1s;" >/etc/nginx/conf.d/resolver.conf
exec nginx -g 'daemon off;'
