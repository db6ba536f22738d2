#pragma once
/* Every variable of the table in the predecessor's README, set as an installation has them. */

#define ORIGINAL_ENVIRONMENT                                                                       \
    "APP_NAME=snapshot-processor", "AWS_ALT_REGION=eu-west-1", "AWS_CONFIG_FILE=/etc/aws/config",  \
        "AWS_DEFAULT_REGION=us-east-1", "CRONITOR_MONITOR_KEY=monitor-key",                        \
        "DEVICE_NAME=snapshots", "FTP_CREATE_DIRS=snapshots/cam1,snapshots/cam2",                  \
        "FTP_PASS=ftp-password", "FTP_UPLOAD_DIR=uploads/snapshots", "FTP_USER=cameras",           \
        "GOOGLE_DRIVE_FOLDER=Snapshots", "HC_PING_URL=https://hc.example/ping/secret-id",          \
        "INPUT_1_LOCATION=Garage", "INPUT_1_TYPE=Camera",                                          \
        "INPUT_2_LOCATION=", "INPUT_2_TYPE=", "INPUT_3_LOCATION=", "INPUT_3_TYPE=",                \
        "INPUT_4_LOCATION=", "INPUT_4_TYPE=", "INPUT_5_LOCATION=", "INPUT_5_TYPE=",                \
        "INPUT_6_LOCATION=", "INPUT_6_TYPE=", "INPUT_7_LOCATION=", "INPUT_7_TYPE=",                \
        "INPUT_8_LOCATION=", "INPUT_8_TYPE=", "MINIMUM_HUMAN_CONFIDENCE=0.8",                      \
        "MINIMUM_CONFIDENCE=0.3", "OBJECT_DETECTION_ENABLED=true",                                 \
        "OBJECT_DETECTION_MODEL=yolov8n",                                                          \
        "OBJECT_DETECTION_MODEL_URL=", "OP_CONNECT_HOST=http://1password-connect:8080",            \
        "OP_CONNECT_TOKEN=connect-token", "OP_VAULT=vault-id", "OUTPUT_1_LOCATION=Front Door",     \
        "OUTPUT_1_TYPE=Camera", "OUTPUT_2_LOCATION=Back Yard", "OUTPUT_2_TYPE=camera",             \
        "OUTPUT_3_LOCATION=Hall", "OUTPUT_3_TYPE=Siren",                                           \
        "OUTPUT_4_LOCATION=", "OUTPUT_4_TYPE=", "OUTPUT_5_LOCATION=", "OUTPUT_5_TYPE=",            \
        "OUTPUT_6_LOCATION=", "OUTPUT_6_TYPE=", "OUTPUT_7_LOCATION=", "OUTPUT_7_TYPE=",            \
        "OUTPUT_8_LOCATION=", "OUTPUT_8_TYPE=", "RABBITMQ_DEVICE_TOPIC=snapshot",                  \
        "RABBITMQ_EXCHANGE=home_automation", "RABBITMQ_SERVER_ADDRESS=192.168.1.100",              \
        "RUN_FTP_SERVER=true", "USER=app", "FEATURE_FLAG_OBJECT_DETECTION=true",                   \
        "FEATURE_FLAG_LOCAL_OBJECT_DETECTION=true", "FEATURE_FLAG_CLOUD_OBJECT_DETECTION=false",   \
        "FEATURE_FLAG_CLOUD_STORAGE_MANAGEMENT=true"
