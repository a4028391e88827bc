package authorize
