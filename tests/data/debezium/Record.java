import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.Header;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Properties;

/**
 * Runs Debezium's engine and prints what it would send to Kafka: one line a message, of topic, key,
 * value and headers' names with values, separated by tabs (JSON holds none). Ends with its input.
 */
public class Record {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (FileReader file = new FileReader(arguments[0], StandardCharsets.UTF_8)) {
            settings.load(file);
        }
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        DebeziumEngine<ChangeEvent<String, String>> engine =
                DebeziumEngine.create(Json.class, Json.class, Json.class)
                        .using(settings)
                        .using((success, message, error) -> {
                            if (!success) {
                                System.err.println(message);
                                Runtime.getRuntime().halt(1);
                            }
                        })
                        .notifying(event -> out.println(line(event)))
                        .build();
        Thread thread = new Thread(engine);
        thread.start();
        while (System.in.read() >= 0) {
        }
        engine.close();
        Runtime.getRuntime().halt(0);
    }

    private static String line(ChangeEvent<String, String> event) {
        StringBuilder line = new StringBuilder(event.destination());
        line.append('\t').append(event.key()).append('\t').append(event.value());
        for (Header<?> header : event.headers()) {
            line.append('\t').append(header.getKey()).append('=').append(header.getValue());
        }
        return line.toString();
    }
}
