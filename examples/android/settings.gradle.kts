pluginManagement { repositories { google(); mavenCentral(); gradlePluginPortal() } }
dependencyResolutionManagement { repositories { google(); mavenCentral() } }
rootProject.name = "unspoken-sample"
include(":app", ":unspoken")
project(":unspoken").projectDir = file("../../bindings/kotlin/android")
